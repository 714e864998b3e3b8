package server_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tollgate/server/api"
)

// errSeen ends a stream whose view was waited for.
var errSeen = errors.New("seen")

// load keeps calling until the test ends.
func (r *running) load(keys ...string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var callers sync.WaitGroup
	for _, key := range keys {
		callers.Go(func() {
			for ctx.Err() == nil {
				if _, err := r.do("POST", "/v1/scan", key, docs(2)); err != nil {
					r.t.Errorf("a call: %v", err)
					return
				}
			}
		})
	}
	return func() {
		cancel()
		callers.Wait()
	}
}

// TestScreensUnderLoad watches everything at once while users call: the numbers
// move, and agree with the commands when the calls have ended.
func TestScreensUnderLoad(t *testing.T) {
	upstream := newCounting(t)
	r := start(t, serverTable+scanRoute(upstream.URL)+`
[[plan]]
id = "unlimited"
name = "Unlimited"
fee = "5"
on_exceed = "bill"
rate_limits = { per_minute = 0, per_day = 0 }
`)
	one, two, refused := r.user("one@example.com", "unlimited"), r.user("two@example.com", "unlimited"), "tg_live_nothing"
	stop := r.load(one.APIKey, two.APIKey, refused)
	stopped := sync.OnceFunc(stop)
	defer stopped()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var watchers sync.WaitGroup
	follow := func(name string, watch func() error) {
		watchers.Go(func() {
			if err := watch(); !errors.Is(err, errSeen) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	follow("overview", func() error {
		var first *api.Overview
		return r.client.WatchOverview(ctx, func(o api.Overview) error {
			if first == nil {
				first = &o
			}
			t := o.Traffic
			moved := o.Month.Calls > first.Month.Calls && o.Ledger.Entries > first.Ledger.Entries
			if moved && t.CallsPerSecond > 0 && t.P50MS > 0 && t.P99MS >= t.P50MS && o.Ledger.CommitP99US >= o.Ledger.CommitP50US && o.Ledger.CommitP50US > 0 &&
				o.Month.Charges != nil && len(t.Refusals) == 1 && t.Refusals[0].Reason == "invalid_key" && t.Refusals[0].Minute > 0 && len(o.Runs) > 0 && o.Ready {
				return errSeen
			}
			return nil
		})
	})
	follow("users", func() error {
		calls := int64(0)
		return r.client.WatchUsers(ctx, api.UsersQuery{}, func(v api.UsersView) error {
			sum := int64(0)
			for _, u := range v.Users {
				sum += u.Calls
			}
			if before := calls; before == 0 || sum <= before {
				calls = sum
				return nil
			}
			return errSeen
		})
	})
	follow("user", func() error {
		calls := int64(0)
		return r.client.WatchUser(ctx, one.Email, func(v api.UserView) error {
			if before := calls; before == 0 || v.Row.Calls <= before || len(v.Records) != 20 || v.Days[29].Calls < before {
				calls = v.Row.Calls
				return nil
			}
			return errSeen
		})
	})
	follow("records", func() error {
		views, last := 0, uint64(0)
		return r.client.WatchRecords(ctx, api.RecordsFilter{User: two.Email, Status: "2xx"}, func(v api.RecordsTail) error {
			for _, record := range v.Records {
				if record.User != two.ID || record.Seq <= last {
					t.Errorf("after %d came %+v", last, record)
				}
				last = record.Seq
			}
			if views++; views < 3 {
				return nil
			}
			return errSeen
		})
	})
	follow("billing", func() error {
		return r.client.WatchBilling(ctx, "", func(v api.BillingView) error {
			if v.Month.Charges == nil || v.Month.Charges.SoFarCents == 0 {
				return nil
			}
			return errSeen
		})
	})
	watchers.Wait()
	stopped()
	usage, err := r.client.Usage(t.Context(), one.Email, "")
	if err != nil {
		t.Fatal(err)
	}
	err = r.client.WatchUser(ctx, one.Email, func(v api.UserView) error {
		if v.Row.Calls != usage.CurrentUsage.TotalCalls || v.Usage.Charges.TotalCents != usage.Charges.TotalCents {
			t.Errorf("got %+v, want %+v", v.Usage, usage)
		}
		return errSeen
	})
	if !errors.Is(err, errSeen) {
		t.Error(err)
	}
}

// TestScreensEndWithTheServer: a stop tells those who watch at once, while running
// calls finish, and waits for none of them.
func TestScreensEndWithTheServer(t *testing.T) {
	upstream := newSlow(t)
	r := start(t, serverTable+scanRoute(upstream.URL))
	u := r.user("ann@example.com", "pro")
	call := make(chan answer, 1)
	go func() {
		a, err := r.do("POST", "/v1/scan", u.APIKey, docs(2))
		if err != nil {
			t.Errorf("the running call: %v", err)
		}
		call <- a
	}()
	<-upstream.reached
	watching := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- r.client.WatchOverview(t.Context(), func(api.Overview) error {
			select {
			case <-watching:
			default:
				close(watching)
			}
			return nil
		})
	}()
	<-watching
	r.cancel()
	draining := func(err error) bool {
		var told *api.Error
		return errors.As(err, &told) && told.Code == "draining"
	}
	if err := <-ended; !draining(err) {
		t.Errorf("the stream ended with %v", err)
	}
	if err := r.client.WatchBilling(t.Context(), "", func(api.BillingView) error { return nil }); !draining(err) {
		t.Errorf("another began, and ended with %v", err)
	}
	close(upstream.finish)
	if a := <-call; a.status != http.StatusOK {
		t.Errorf("the running call got %d", a.status)
	}
	r.stop()
}

// TestStopIsNotHeldUpByScreens: without running calls a stop cuts the streams.
func TestStopIsNotHeldUpByScreens(t *testing.T) {
	r := start(t, serverTable)
	var views sync.WaitGroup
	ended := make(chan error, 3)
	for range cap(ended) {
		views.Add(1)
		seen := sync.OnceFunc(views.Done)
		go func() {
			ended <- r.client.WatchUsers(t.Context(), api.UsersQuery{}, func(api.UsersView) error { seen(); return nil })
		}()
	}
	views.Wait()
	begin := time.Now()
	r.stop()
	if took := time.Since(begin); took > 4*time.Second { // the bound is 5 s
		t.Errorf("the stop took %v", took)
	}
	var list []error
	for range cap(ended) {
		list = append(list, <-ended)
	}
	if slices.Contains(list, nil) {
		t.Errorf("the streams ended with %v", list)
	}
}

// TestSnapshotsAreMissed: the newest file in the folder counts, and one that is older
// than two nights needs attention.
func TestSnapshotsAreMissed(t *testing.T) {
	folder := t.TempDir()
	r := start(t, strings.Replace(serverTable, `snapshot_dir = ""`, `snapshot_dir = "`+folder+`"`, 1))
	old := time.Now().Add(-50 * time.Hour).Truncate(time.Second)
	made := func(name string, at time.Time) {
		path := filepath.Join(folder, name)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	var steps []string
	err := r.client.WatchOverview(t.Context(), func(o api.Overview) error {
		missed := slices.ContainsFunc(o.Attention, func(a api.Attention) bool {
			return strings.HasPrefix(a.Text, "No snapshot of the ledger was made for two days")
		})
		last := o.Ledger.LastSnapshot
		switch {
		case last == nil && !missed: // the ledger is new
			made("tollgate-2020-01-02.db", old)
			made("tollgate-2020-01-01.db", time.Now())
			made("other.db", time.Now())
			steps = append(steps, "none")
		case last != nil && last.Equal(old) && missed:
			made("tollgate-2020-01-03.db", time.Now())
			steps = append(steps, "old")
		case last != nil && last.After(old) && !missed:
			steps = append(steps, "new")
			return errSeen
		}
		return nil
	})
	if !errors.Is(err, errSeen) || !slices.Equal(steps, []string{"none", "old", "new"}) {
		t.Errorf("got %v, %v", steps, err)
	}
}
