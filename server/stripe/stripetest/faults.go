package stripetest

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"time"
)

// FaultKind is a way to fail.
type FaultKind int

// The faults. What is "before" strikes before anything is done, what is "after"
// when the request has been done whole.
const (
	NoFault          FaultKind = iota
	Refuse                     // the connection is refused
	CutBefore                  // the connection breaks
	CutAfter                   // the connection breaks without an answer
	HangBefore                 // nothing comes until the caller leaves, or Until is closed: then it is done
	HangAfter                  // nothing comes until the caller leaves, or Until is closed: then the answer comes
	Truncate                   // 200 and half of the body, after it was done
	ErrorBefore                // 500; kept under the idempotency key, as Stripe does
	ErrorAfter                 // 500 although it was done; kept under the idempotency key
	BadGatewayBefore           // 502 with HTML, by something on the way
	BadGatewayAfter            // 502 with HTML, although it was done
	RateLimited                // 429 with Retry-After
	ForgetKeys                 // all idempotency keys are forgotten; the request itself goes well
)

var faultNames = [...]string{"none", "refuse", "cut before", "cut after", "hang before", "hang after", "truncate",
	"error before", "error after", "bad gateway before", "bad gateway after", "rate limited", "forget keys"}

func (k FaultKind) String() string {
	if k < 0 || int(k) >= len(faultNames) {
		return fmt.Sprintf("fault %d", int(k))
	}
	return faultNames[k]
}

// Faults is all kinds, for tests that try each.
func Faults() []FaultKind {
	var list []FaultKind
	for k := Refuse; k <= ForgetKeys; k++ {
		list = append(list, k)
	}
	return list
}

// Fault is a failure to come. It strikes API requests, not pages.
type Fault struct {
	Kind   FaultKind
	Method string // "": any
	Path   string // a pattern of path.Match, such as "/v1/invoices/*/pay"; "": any
	// Nth is which of the requests that fit is struck first, counted from 1 from when
	// the fault is set; 0 is the first.
	Nth        int
	Times      int             // how many it strikes; 0: one; below 0: all
	RetryAfter time.Duration   // of RateLimited; whole seconds; 0: one
	Until      <-chan struct{} // of HangBefore and HangAfter; nil: until the caller leaves
}

// strike is a fault that is set.
type strike struct {
	Fault
	seen int
}

// Fail sets a fault. cancel takes it away again. Faults are tried in the order
// in which they were set, and a request is struck by one at most.
func (s *Server) Fail(f Fault) (cancel func()) {
	if _, err := path.Match(f.Path, "/"); err != nil {
		panic("stripetest: bad pattern of a fault: " + f.Path)
	}
	k := &strike{Fault: f}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, k)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.faults = slices.DeleteFunc(s.faults, func(o *strike) bool { return o == k })
	}
}

// Down refuses all requests, also those for pages, until the stand-in's clock has
// gone on by d; 0 is until [Server.Up].
func (s *Server) Down(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = true
	s.downUntil = time.Time{}
	if d > 0 {
		s.downUntil = s.now().Add(d)
	}
}

// Up ends Down and takes all faults away.
func (s *Server) Up() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = false
	s.faults = nil
}

// ForgetKeys forgets all idempotency keys, as Stripe may after 24 hours.
func (s *Server) ForgetKeys() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Keys = keys{}
}

func (s *Server) isDown() bool {
	if s.down && !s.downUntil.IsZero() && !s.now().Before(s.downUntil) {
		s.down = false
	}
	return s.down
}

// strikes is the fault that strikes a request.
func (s *Server) strikes(method, at string) Fault {
	var hit Fault
	for _, k := range s.faults {
		if k.Method != "" && k.Method != method {
			continue
		}
		if k.Path != "" {
			if fits, _ := path.Match(k.Path, at); !fits { // the pattern was tried when it was set
				continue
			}
		}
		k.seen++
		first := max(k.Nth, 1)
		if k.seen >= first && (k.Times < 0 || k.seen < first+max(k.Times, 1)) && hit.Kind == NoFault {
			hit = k.Fault
		}
	}
	s.faults = slices.DeleteFunc(s.faults, func(k *strike) bool {
		return k.Times >= 0 && k.seen >= max(k.Nth, 1)+max(k.Times, 1)-1
	})
	if s.isDown() {
		return Fault{Kind: Refuse}
	}
	return hit
}

func (s *Server) writeRateLimited(w http.ResponseWriter, fault Fault, requestID string) {
	f := invalid("rate_limit", "", "Request rate limit exceeded.")
	f.status = http.StatusTooManyRequests
	w.Header().Set("Retry-After", strconv.Itoa(max(int(fault.RetryAfter/time.Second), 1)))
	s.write(w, f.result(), requestID, "")
}

func writeBadGateway(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(http.StatusBadGateway)
	w.Write([]byte("<html>\n<head><title>502 Bad Gateway</title></head>\n<body>\n<center><h1>502 Bad Gateway</h1></center>\n</body>\n</html>\n"))
}

// Request is an API request that was received. Path is without the query, whose
// parameters are in Form, which must not be changed.
type Request struct {
	Method         string
	Path           string
	Form           url.Values
	IdempotencyKey string
	Status         int // 0: it was not answered by the account
}

// Requests is what was received, if Options.Record was set.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}
