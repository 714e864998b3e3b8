package cli

import (
	"os"

	"tollgate/server/api"
)

const (
	defaultSocket = "tollgate.sock"
	// serviceSocket is where tollgate listens as a service.
	serviceSocket = "/run/tollgate/tollgate.sock"
)

// client is for the running server. The caller closes it.
func (a *app) client() (*api.Client, error) {
	path, err := a.socketPath()
	if err != nil {
		return nil, err
	}
	return api.Dial(path), nil
}

// socketPath is where the running server is asked.
func (a *app) socketPath() (string, error) {
	if a.socket != "" {
		return a.socket, nil
	}
	if path := a.Getenv("TOLLGATE_SOCKET"); path != "" {
		return path, nil
	}
	if a.configFile == "" {
		if !exists(defaultSocket) && exists(serviceSocket) {
			return serviceSocket, nil
		}
		return defaultSocket, nil
	}
	c, err := a.loadConfig(a.configFile)
	if err != nil {
		return "", hint("--socket names the socket without reading the configuration", err)
	}
	return c.Server.Socket, nil
}

// asking calls do with a client of the running server.
func (a *app) asking(do func(c *api.Client) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	return do(c)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
