package stripetest

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"time"
)

// keyLife is how long Stripe keeps an idempotency key at least, and we at most.
const keyLife = 24 * time.Hour

// keys is the idempotency keys of the last 24 hours with their answers. As with
// Stripe, all answers of requests that were begun are kept, also failures;
// those that were refused before (what makes no sense, an unknown key, too many
// requests) are not.
type keys struct {
	Known []*kept `json:"known,omitempty"` // oldest first
	byKey map[string]*kept
}

// kept is an idempotency key in use.
type kept struct {
	Key     string `json:"key"`
	Params  string `json:"params"` // digest of what was asked
	First   int64  `json:"first"`  // Unix seconds
	Request string `json:"request"`
	Answer  result `json:"answer"`
	running bool
}

// begin notes the key of a request and gives the answer, if there is one already.
// Without a key both are nil.
func (k *keys) begin(c *call, now time.Time) (*kept, *result) {
	if c.key == "" {
		return nil, nil
	}
	if len(c.key) > 255 {
		r := invalid("", "", "Idempotency keys can have up to 255 characters.").result()
		return nil, &r
	}
	k.forget(now)
	digest := sha256.Sum256([]byte(c.r.Method + " " + c.r.URL.Path + "\n" + c.p.form.Encode()))
	asked := hex.EncodeToString(digest[:])
	known, ok := k.byKey[c.key]
	switch {
	case !ok:
		known = &kept{Key: c.key, Params: asked, First: now.Unix(), Request: c.requestID, running: true}
		k.add(known)
		return known, nil
	case known.Params != asked:
		f := invalid("", "", "Keys for idempotent requests can only be used with the same parameters they were first used with. Try using a key other than '"+c.key+"' if you meant to execute a different request.")
		f.Type = "idempotency_error"
		r := f.result()
		return nil, &r
	case known.running:
		f := invalid("idempotency_key_in_use", "", "There is currently another in-progress request using this Idempotent Key (that probably means you submitted twice, and the other request is still going through): "+c.key+". Please try again later.")
		f.status = http.StatusConflict
		r := f.result()
		return nil, &r
	}
	r := known.Answer
	r.replayed, r.original = true, known.Request
	return nil, &r
}

func (k *keys) add(known *kept) {
	if k.byKey == nil {
		k.byKey = map[string]*kept{}
	}
	k.Known = append(k.Known, known)
	k.byKey[known.Key] = known
}

// forget drops the keys that are older than 24 hours.
func (k *keys) forget(now time.Time) {
	limit := now.Add(-keyLife).Unix()
	n := 0
	for n < len(k.Known) && k.Known[n].First <= limit {
		if old := k.Known[n]; k.byKey[old.Key] == old {
			delete(k.byKey, old.Key)
		}
		k.Known[n] = nil
		n++
	}
	k.Known = k.Known[n:]
}

// end keeps the answer.
func (k *keys) end(known *kept, c *call, answer result) {
	if known == nil {
		return
	}
	if answer.early {
		k.abandon(known)
		return
	}
	known.running = false
	known.Answer = answer
}

// abandon frees a key whose request was not begun.
func (k *keys) abandon(known *kept) {
	if known == nil || k.byKey[known.Key] != known {
		return
	}
	delete(k.byKey, known.Key)
	for i := len(k.Known) - 1; i >= 0; i-- {
		if k.Known[i] == known {
			k.Known = append(k.Known[:i], k.Known[i+1:]...)
			return
		}
	}
}
