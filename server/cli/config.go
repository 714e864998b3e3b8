package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"

	"tollgate/server/api"
	"tollgate/server/config"
)

// loadConfig reads a configuration; without a path it is the default.
func (a *app) loadConfig(path string) (*config.Config, error) {
	c, err := config.Load(path, a.Getenv)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hint("-c names the configuration; without it serve uses defaults", err)
	}
	return c, err
}

// checked is the answer of config check.
type checked struct {
	File     string           `json:"file"`
	OK       bool             `json:"ok"`
	Problems []config.Problem `json:"problems"`
	Warnings []config.Problem `json:"warnings"`
	Config   *config.Summary  `json:"config,omitempty"` // what was understood
}

func (a *app) configCommand() *cobra.Command {
	check := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a configuration without using it",
		Long: `Checks a configuration, all of it at once, without using it. Secrets are looked
up in the environment as serve would.`,
		Example: "  tollgate config check config.toml",
		Args:    between(0, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := a.configFile
			if len(args) == 1 {
				path = args[0]
			}
			if path == "" {
				return usage(cmd, "FILE is missing")
			}
			return a.checkConfig(path)
		},
	}
	return group("config", "Check a configuration", check)
}

func (a *app) checkConfig(path string) error {
	c, err := a.loadConfig(path)
	wrong := (*config.Error)(nil)
	if err != nil && !errors.As(err, &wrong) {
		return err
	}
	if wrong != nil && !a.json {
		return err
	}
	result := checked{File: path, OK: wrong == nil, Problems: []config.Problem{}, Warnings: []config.Problem{}}
	if wrong != nil {
		result.Problems = append(result.Problems, wrong.Problems...)
	} else {
		result.Warnings = append(result.Warnings, c.Warnings...)
		result.Config = c.Summary()
	}
	return errors.Join(err, a.answer(result, func(w io.Writer) {
		fmt.Fprintf(w, "%s is sound. It says:\n\n", api.Clean(path))
		result.Config.WriteText(w)
	}))
}
