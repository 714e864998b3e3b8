package admission

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// Problem is the body of a refusal, by RFC 9457.
type Problem struct {
	Type       string     `json:"type"`
	Title      string     `json:"title"`
	Status     int        `json:"status"`
	Detail     string     `json:"detail"`
	Code       string     `json:"code"`
	Limit      *int64     `json:"limit,omitempty"`
	Used       *int64     `json:"used,omitempty"`
	Remaining  *int64     `json:"remaining,omitempty"`
	Reset      *time.Time `json:"reset,omitempty"`
	UpgradeURL string     `json:"upgrade_url,omitempty"`

	Balance     json.Number `json:"balance,omitempty"` // credits
	PurchaseURL string      `json:"purchase_url,omitempty"`
}

// Problem gives the refusal's document.
func (r *Refusal) Problem() Problem {
	p := Problem{
		Type: "urn:tollgate:problem:" + r.Code, Title: r.Title, Status: r.Status, Detail: r.Detail, Code: r.Code,
		Limit: r.Limit, Used: r.Used, Remaining: r.Remaining, UpgradeURL: r.UpgradeURL, PurchaseURL: r.PurchaseURL,
	}
	if r.Balance != nil {
		p.Balance = json.Number(r.Balance.Short())
	}
	if !r.Reset.IsZero() {
		reset := r.Reset.UTC()
		p.Reset = &reset
	}
	return p
}

// WriteProblem answers a call with a refusal: application/problem+json with the
// headers that belong to it. The headers of w must not have been sent.
func WriteProblem(w http.ResponseWriter, r *Refusal) {
	body, err := json.Marshal(r.Problem())
	if err != nil {
		// Nothing in it can fail to encode; a refusal must reach the client all the same.
		body = []byte(`{"status":` + strconv.Itoa(r.Status) + `}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	if r.Status == http.StatusUnauthorized {
		// RFC 6750: no error where no credentials were given.
		challenge := `Bearer realm="tollgate"`
		if r.Code != MissingKey {
			challenge += `, error="invalid_token"`
		}
		h.Set("WWW-Authenticate", challenge)
	}
	if r.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(seconds(r.RetryAfter), 10))
	}
	if r.NoRetry {
		h.Set("X-Should-Retry", "false")
	}
	SetLimitHeaders(h, r.Limits)
	w.WriteHeader(r.Status)
	_, _ = w.Write(body) // a client that has gone needs no answer
}

// seconds rounds up to whole seconds: who waits that long has waited enough.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// SetLimitHeaders sets RateLimit-Policy and RateLimit for the limits at which
// calls are refused (draft-ietf-httpapi-ratelimit-headers), and X-RateLimit-Limit,
// -Remaining and -Reset (Unix seconds) for the month's quota. It sets nothing
// where there is no limit.
func SetLimitHeaders(h http.Header, limits []Limit) {
	if len(limits) == 0 {
		return
	}
	// All values are cut from one string and kept in one slice: this runs for each
	// call, and two allocations are what it may cost beside the header map itself.
	var room [320]byte
	text := room[:0]
	month := -1
	hard := false
	for i := range limits {
		l := &limits[i]
		if l.Name == "month" {
			month = i
		}
		if l.Soft {
			continue
		}
		text = appendItem(text, hard, l.Name)
		text = append(text, ";q="...)
		text = strconv.AppendInt(text, l.Limit, 10)
		text = append(text, ";w="...)
		text = strconv.AppendInt(text, seconds(l.Window), 10)
		hard = true
	}
	policyEnd := len(text)
	hard = false
	for i := range limits {
		l := &limits[i]
		if l.Soft {
			continue
		}
		text = appendItem(text, hard, l.Name)
		text = append(text, ";r="...)
		text = strconv.AppendInt(text, l.Remaining, 10)
		text = append(text, ";t="...)
		text = strconv.AppendInt(text, seconds(max(l.ResetIn, 0)), 10)
		hard = true
	}
	limitEnd := len(text)
	quotaEnd, remainingEnd := limitEnd, limitEnd
	if month >= 0 {
		text = strconv.AppendInt(text, limits[month].Limit, 10)
		quotaEnd = len(text)
		text = strconv.AppendInt(text, limits[month].Remaining, 10)
		remainingEnd = len(text)
		text = strconv.AppendInt(text, limits[month].Reset.Unix(), 10)
	}
	all := string(text)
	values := make([]string, 0, 5)
	set := func(name, value string) {
		values = append(values, value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	if hard {
		set("Ratelimit-Policy", all[:policyEnd])
		set("Ratelimit", all[policyEnd:limitEnd])
	}
	if month >= 0 {
		set("X-Ratelimit-Limit", all[limitEnd:quotaEnd])
		set("X-Ratelimit-Remaining", all[quotaEnd:remainingEnd])
		set("X-Ratelimit-Reset", all[remainingEnd:])
	}
}

// appendItem begins an item of a structured list (RFC 9651): a name of letters,
// digits and "-_." as a string.
func appendItem(text []byte, more bool, name string) []byte {
	if more {
		text = append(text, ", "...)
	}
	text = append(text, '"')
	for i := range len(name) {
		if c := name[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			text = append(text, '_')
		} else {
			text = append(text, c)
		}
	}
	return append(text, '"')
}
