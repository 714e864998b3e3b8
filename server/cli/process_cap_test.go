package cli_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// TestHardCapOverRestarts: 64 clients make 2,000 attempts at a plan with 400
// calls, and calls of 7 documents at one with 4,000, and in their midst the
// process is told to end and started again. What is running then finishes, so
// that exactly as much reaches the upstream as fits.
func TestHardCapOverRestarts(t *testing.T) {
	for _, cap := range []struct {
		plan             string
		docs             int
		calls, documents int // that fit
	}{
		{"calls400", 1, 400, 400},
		{"docs4000", 7, 571, 3997},
	} {
		t.Run(cap.plan, func(t *testing.T) {
			const clients, attempts = 64, 2000
			upstream := newWitness(t)
			folder := childFolder(t, witnessConfig(upstream.URL))
			c := spawn(t, built(t), folder)
			user := c.addUser(cap.plan+"@example.com", cap.plan)
			http64 := newTestClient()
			defer http64.CloseIdleConnections()
			var next, passed, refused, missed atomic.Int64
			wave := func(n int64, enough func()) {
				last := next.Load() + n
				var all sync.WaitGroup
				for range clients {
					all.Go(func() {
						for n := next.Add(1); n <= last; n = next.Add(1) {
							kind := kinds[n%int64(len(kinds))]
							a, err := post(http64, "http://"+c.address+kind, user.APIKey, orderOf(fmt.Sprint(cap.plan, n), cap.docs, n))
							switch {
							case err != nil || a.status == http.StatusServiceUnavailable && a.code() == "shutting_down":
								missed.Add(1) // the process ends
								return
							case a.status == http.StatusOK:
								if passed.Add(1) == int64(cap.calls/2) {
									enough()
								}
							case a.status == http.StatusTooManyRequests && a.code() == "quota_exceeded":
								refused.Add(1)
								if a.header.Get("X-Should-Retry") != "false" || a.header.Get("Retry-After") != "" {
									t.Errorf("a refusal at the quota asks for another try: %v", a.header)
								}
							default:
								t.Errorf("got %d %s", a.status, a.body)
							}
						}
					})
				}
				all.Wait()
			}
			half := make(chan struct{})
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				<-half
				if err := c.end(); err != nil {
					t.Error(err)
				}
			}()
			wave(attempts, func() { close(half) })
			<-stopped
			c = spawn(t, built(t), folder)
			wave(attempts-passed.Load()-refused.Load(), func() {})

			calls, documents := upstream.count()
			if got := calls; got != cap.calls {
				t.Errorf("%d calls reached the upstream, want %d", got, cap.calls)
			}
			if got := int(documents); got != cap.documents {
				t.Errorf("%d documents reached the upstream, want %d", got, cap.documents)
			}
			u := c.usage(user.Email).CurrentUsage
			if u.TotalCalls != int64(cap.calls) || u.TotalDocuments != int64(cap.documents) {
				t.Errorf("the ledger has %d calls and %d documents, want %d and %d", u.TotalCalls, u.TotalDocuments, cap.calls, cap.documents)
			}
			if passed.Load() != int64(cap.calls) || passed.Load()+refused.Load() != attempts {
				t.Errorf("%d attempts passed and %d were refused, want %d and the rest of %d", passed.Load(), refused.Load(), cap.calls, attempts)
			}
			c.verify()
			c.stop()
			t.Logf("%d of %d attempts passed, %d were refused, %d more found the process ending", passed.Load(), attempts, refused.Load(), missed.Load())
		})
	}
}
