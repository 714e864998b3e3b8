package stripetest

import (
	"context"
	"fmt"
	"hash/fnv"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options are for [New]. The zero value works: the system's clock, pages at the
// host that the API was called at.
type Options struct {
	Now     func() time.Time // the stand-in's clock; nil: time.Now
	URL     string           // public base of the pages, without a slash at the end; "": http:// and the host of the request
	Seed    uint64           // part of all ids, so that two accounts have different ones
	Account string           // the account's id; "": made from Seed
	Key     string           // the one secret key that is accepted; "": any of the mode
	Live    bool             // livemode objects and sk_live_ keys; for tests of what must be refused
	Record  bool             // keep all requests for [Server.Requests]
	// Webhooks sends webhooks; nil: http.DefaultClient.
	Webhooks *http.Client
}

// Server is a Stripe account with its API and pages. Its methods may be called
// concurrently.
type Server struct {
	options   Options
	tag       string // part of all ids
	client    *http.Client
	wake      chan struct{} // an event waits for webhooks; see RunWebhooks
	endpoints map[string]*endpoint
	templates func() *template.Template

	mu        sync.Mutex // guards all below
	state     state
	faults    []*strike
	downUntil time.Time
	down      bool
	requests  []Request
	served    int64
	expiry    int64 // when the first open checkout page ends, Unix seconds; 0: there is none
	context   *call // the request under way, for the events that it causes
}

// New makes an empty account.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	hash := fnv.New32a()
	fmt.Fprintf(hash, "tollgate stand-in %d", o.Seed)
	tag := fmt.Sprintf("Sb%06s", strconv.FormatUint(uint64(hash.Sum32())%2176782336, 36))
	tag = strings.ReplaceAll(tag, " ", "0")
	if o.Account == "" {
		o.Account = "acct_1" + tag
	}
	o.URL = strings.TrimRight(o.URL, "/")
	s := &Server{options: o, tag: tag, client: o.Webhooks, wake: make(chan struct{}, 1), endpoints: endpoints(), templates: sync.OnceValue(newTemplates)}
	if s.client == nil {
		s.client = http.DefaultClient
	}
	return s
}

func (s *Server) now() time.Time { return s.options.Now().UTC() }

// maxBody is far more than any request has; stripe-go sends a few hundred bytes.
const maxBody = 1 << 20

// call is a request under way. The server is locked while one runs.
type call struct {
	s         *Server
	r         *http.Request
	p         params
	id        string // of the object in the path
	sub       string // id of the object below it
	key       string // idempotency key
	requestID string
}

// ServeHTTP serves the API below /v1/ and the pages elsewhere.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/v1" && !strings.HasPrefix(r.URL.Path, "/v1/") {
		s.servePage(w, r)
		return
	}
	form, err := readForm(r)
	if err != nil {
		s.write(w, invalid("", "", "The request could not be read: "+err.Error()).result(), "", "")
		return
	}
	s.mu.Lock()
	s.served++
	requestID := "req_" + s.tag + strconv.FormatInt(s.served, 10)
	number := -1
	if s.options.Record {
		number = len(s.requests)
		s.requests = append(s.requests, Request{Method: r.Method, Path: r.URL.Path, Form: form, IdempotencyKey: r.Header.Get("Idempotency-Key")})
	}
	fault := s.strikes(r.Method, r.URL.Path)
	s.mu.Unlock()

	switch fault.Kind {
	case Refuse, CutBefore:
		panic(http.ErrAbortHandler)
	case RateLimited:
		s.writeRateLimited(w, fault, requestID)
		return
	case BadGatewayBefore:
		writeBadGateway(w)
		return
	}
	answer, done := s.answer(r, form, requestID, fault)
	s.mu.Lock()
	if number >= 0 && number < len(s.requests) && done {
		s.requests[number].Status = answer.Status
	}
	s.mu.Unlock()
	switch {
	case !done, fault.Kind == CutAfter:
		panic(http.ErrAbortHandler)
	case fault.Kind == HangAfter:
		if !fault.wait(r.Context()) {
			panic(http.ErrAbortHandler)
		}
	case fault.Kind == BadGatewayAfter:
		writeBadGateway(w)
		return
	case fault.Kind == Truncate:
		s.head(w, answer, requestID, r.Header.Get("Idempotency-Key"))
		w.Write(answer.Body[:len(answer.Body)/2])
		http.NewResponseController(w).Flush() // so that the status is out; a writer that cannot flush is cut all the same
		panic(http.ErrAbortHandler)
	}
	s.write(w, answer, requestID, r.Header.Get("Idempotency-Key"))
}

// readForm is the parameters of a request, from the query and the body.
func readForm(r *http.Request) (url.Values, error) {
	form, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || r.Body == nil {
		return form, err
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("it is larger than %d bytes", maxBody)
	}
	inBody, err := url.ParseQuery(string(body))
	for k, v := range inBody {
		form[k] = append(form[k], v...)
	}
	return form, err
}

// answer does the request and gives its answer. done is false if the caller left
// before anything was done.
func (s *Server) answer(r *http.Request, form url.Values, requestID string, fault Fault) (answer result, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.authenticate(r); f != nil {
		return f.result(), true
	}
	s.expireDue()
	c := &call{s: s, r: r, p: params{form: form}, requestID: requestID}
	e := c.route()
	if e == nil {
		f := invalid("", "", fmt.Sprintf("Unrecognized request URL (%s: %s).", r.Method, r.URL.Path))
		f.status = http.StatusNotFound
		return f.result(), true
	}
	if name := c.p.unknown(e.allowed); name != "" {
		return invalid("parameter_unknown", name, "Received unknown parameter: "+name).result(), true
	}
	if r.Method == http.MethodPost { // GET and DELETE are idempotent without
		c.key = r.Header.Get("Idempotency-Key")
	}
	if fault.Kind == ForgetKeys {
		s.state.Keys = keys{}
	}
	k, kept := s.state.Keys.begin(c, s.now())
	if kept != nil {
		if fault.Kind == ErrorBefore || fault.Kind == ErrorAfter {
			return serverError().result(), true
		}
		return *kept, true
	}
	if fault.Kind == HangBefore {
		s.mu.Unlock()
		goOn := fault.wait(r.Context())
		s.mu.Lock()
		if !goOn {
			s.state.Keys.abandon(k)
			return result{}, false
		}
	}
	answer = c.perform(e, fault)
	s.state.Keys.end(k, c, answer)
	return answer, true
}

// perform runs the endpoint.
func (c *call) perform(e *endpoint, fault Fault) result {
	if fault.Kind == ErrorBefore {
		return serverError().result()
	}
	c.s.context = c
	defer func() { c.s.context = nil }()
	v, f := e.run(c)
	var answer result
	if f == nil {
		answer, f = c.s.render(v, c.p.strings("expand"))
	}
	if f != nil {
		answer = f.result()
		answer.early = f.early
	}
	if fault.Kind == ErrorAfter {
		return serverError().result()
	}
	return answer
}

// authenticate refuses a request without a secret key of our mode.
func (s *Server) authenticate(r *http.Request) *failure {
	key, _, basic := r.BasicAuth()
	if !basic {
		key, _ = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	}
	mode := "test"
	if s.options.Live {
		mode = "live"
	}
	fits := strings.HasPrefix(key, "sk_"+mode+"_") || strings.HasPrefix(key, "rk_"+mode+"_")
	if s.options.Key != "" {
		fits = key == s.options.Key
	}
	if fits {
		return nil
	}
	f := invalid("", "", "Invalid API Key provided.")
	if key == "" {
		f.Message = "You did not provide an API key."
	}
	f.status = http.StatusUnauthorized
	return f
}

func (s *Server) head(w http.ResponseWriter, answer result, requestID, key string) {
	h := w.Header()
	h.Set("Date", s.now().Format(http.TimeFormat))
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(answer.Body)))
	h.Set("Request-Id", requestID)
	h.Set("Stripe-Version", Version)
	if key != "" {
		h.Set("Idempotency-Key", key)
	}
	if answer.replayed {
		h.Set("Idempotent-Replayed", "true")
		h.Set("Original-Request", answer.original)
	}
	w.WriteHeader(answer.Status)
}

func (s *Server) write(w http.ResponseWriter, answer result, requestID, key string) {
	s.head(w, answer, requestID, key)
	w.Write(answer.Body) // nobody is left to be told if it fails
}

// base is where the pages are, as the customer's browser finds them.
func (s *Server) base() string {
	if s.options.URL != "" || s.context == nil {
		return s.options.URL
	}
	return "http://" + s.context.r.Host
}

// wait blocks until the fault lets go, and tells whether it did before the caller left.
func (f Fault) wait(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-f.Until: // nil: never
		return true
	}
}
