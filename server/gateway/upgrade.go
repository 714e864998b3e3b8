package gateway

import (
	"context"
	"net/http"
	"sync"
	"time"

	"tollgate/server/admission"
)

// upgrades is the open upgraded connections, such as WebSockets, each with what
// closes it.
type upgrades struct {
	mu   sync.Mutex
	open map[*call]context.CancelFunc
}

func (u *upgrades) add(c *call) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.open == nil {
		u.open = make(map[*call]context.CancelFunc)
	}
	u.open[c] = c.cancel
}

func (u *upgrades) remove(c *call) {
	u.mu.Lock()
	delete(u.open, c)
	u.mu.Unlock()
}

func (u *upgrades) closeAll() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, end := range u.open {
		end()
	}
}

// CloseUpgraded closes the upgraded connections whose key was revoked or has
// expired, or whose user was suspended or closed. Call it after each such change,
// and from time to time for keys that expire.
func (g *Gateway) CloseUpgraded(now time.Time) {
	g.open.mu.Lock()
	defer g.open.mu.Unlock()
	for c, end := range g.open.open {
		if c.caller != nil && g.Gate.Recheck(c.caller, now) != nil {
			end()
		}
	}
}

// checkUpgrade refuses an Upgrade header that no upstream could be sent.
func checkUpgrade(h http.Header) *admission.Refusal {
	if h["Upgrade"] == nil {
		return nil
	}
	for _, c := range []byte(h.Get("Upgrade")) {
		if c < ' ' || c > '~' {
			return &admission.Refusal{Status: http.StatusBadRequest, Code: "bad_upgrade", Title: "Upgrade header not valid", Detail: "The Upgrade header names no protocol."}
		}
	}
	return nil
}
