package gateway

import (
	"net/http"
	"time"

	"tollgate/server/admission"
)

// CloseUpgraded closes the upgraded connections whose key was revoked or has
// expired, or whose user was suspended or closed. Call it after each such change,
// and from time to time for keys that expire.
func (g *Gateway) CloseUpgraded(now time.Time) {
	g.calls.each(func(c *call) {
		if c.upgraded && c.caller != nil && g.Gate.Recheck(c.caller, now) != nil {
			c.cancel()
		}
	})
}

func (c *call) closeUpgraded() {
	if c.upgraded {
		c.cancel()
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
