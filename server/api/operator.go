package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

// NewOperator is the API of the operator. It asks for no key: who may open the
// unix socket that it is served on may do everything. Serve it with
// [WithPeer] as ConnContext, so that changes name who made them.
func NewOperator(o Options) http.Handler {
	s := newService(o)
	mux := s.mux(append(s.operatorEndpoints(), s.watchEndpoints()...), func(r *request) error {
		r.by = operatorBy(r.Context())
		return nil
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(w, r)
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			s.watch.turn.Add(1) // who watches is to see it
		}
	})
}

func (s *service) operatorEndpoints() []endpoint {
	endpoints := []endpoint{
		answers(endpoint{method: "GET", path: "/v1/status"}, func(r *request) (Status, error) { return s.status(r.now) }),
		answers(endpoint{method: "POST", path: "/v1/reload", status: http.StatusNoContent}, func(r *request) (struct{}, error) { return struct{}{}, s.reload(r) }),
		answers(endpoint{method: "GET", path: "/v1/report/top", params: []param{monthParam, {name: "by"}, limitParam}}, s.getTop),
		{method: "GET", path: "/v1/export/usage", params: []param{monthParam}, handle: s.getExport},
		answers(endpoint{method: "GET", path: "/v1/clock"}, func(r *request) (ClockState, error) { return s.clockInDoubt(r.now), nil }),
		takes(endpoint{method: "PUT", path: "/v1/clock"}, s.setClock),
		takes(endpoint{method: "POST", path: "/v1/clock/advance"}, s.advanceClock),
		answers(endpoint{method: "POST", path: "/v1/clock/accept"}, s.acceptClock),
		{method: "POST", path: "/v1/verify", handle: s.verify},
		{method: "POST", path: "/v1/backup", handle: s.backup},
	}
	return slices.Concat(endpoints, s.userEndpoints(), s.termsEndpoints(), s.operatorCredits(), s.paymentEndpoints(), []endpoint{s.noticeEndpoint()}, s.keyEndpoints(), s.billingEndpoints())
}

func (s *service) userEndpoints() []endpoint {
	return []endpoint{
		answers(endpoint{method: "GET", path: "/v1/users", params: []param{limitParam, cursorParam}}, func(r *request) (UsersPage, error) {
			after, limit, err := r.page()
			if err != nil {
				return UsersPage{}, err
			}
			return s.users(r.now, after, limit), nil
		}),
		takes(endpoint{method: "POST", path: "/v1/users", status: http.StatusCreated}, func(r *request, ask AddUser) (AddedUser, error) {
			return s.addUser(r.now, r.by, ask)
		}),
		answers(endpoint{method: "GET", path: "/v1/users/{user}"}, s.ofUser(func(r *request, u *ledger.User) (User, error) {
			return s.user(u, r.now), nil
		})),
		takes(endpoint{method: "POST", path: "/v1/users/{user}/plan"}, func(r *request, ask ChangePlan) (PlanChanged, error) {
			u, err := s.userOf(r)
			if err != nil {
				return PlanChanged{}, err
			}
			return s.changePlan(u, r.now, r.by, ask)
		}),
		s.userChange("suspend", "suspending", func(*request) func(*ledger.User) error { return suspend }),
		s.userChange("resume", "resuming", func(*request) func(*ledger.User) error { return resume }),
		s.userChange("close", "closing", func(r *request) func(*ledger.User) error { return closeAt(r.now) }),
		answers(endpoint{method: "POST", path: "/v1/users/{user}/erase"}, s.ofUser(func(r *request, u *ledger.User) (User, error) {
			return s.erase(u, r.now, r.by)
		})),
		takes(endpoint{method: "PUT", path: "/v1/users/{user}/limit"}, s.limitUser),
		answers(endpoint{method: "GET", path: "/v1/users/{user}/usage", params: []param{monthParam}}, func(r *request) (MonthUsage, error) {
			u, err := s.userOf(r)
			if err != nil {
				return MonthUsage{}, err
			}
			month, err := s.month(r)
			if err != nil {
				return MonthUsage{}, err
			}
			return s.monthUsage(u, r.now, month)
		}),
		s.recordsEndpoint(endpoint{method: "GET", path: "/v1/users/{user}/records"}, s.userOf),
	}
}

func (s *service) keyEndpoints() []endpoint {
	return []endpoint{
		answers(endpoint{method: "GET", path: "/v1/users/{user}/keys", params: []param{limitParam, cursorParam}}, s.getKeys),
		takes(endpoint{method: "POST", path: "/v1/users/{user}/keys", status: http.StatusCreated}, func(r *request, ask OperatorKey) (NewKey, error) {
			u, err := s.userOf(r)
			if err != nil {
				return NewKey{}, err
			}
			return s.createKey(u, r.now, r.by, ask)
		}),
		answers(endpoint{method: "POST", path: "/v1/keys/{id}/revoke"}, func(r *request) (Key, error) {
			k, err := s.keyOf(r, 0)
			if err != nil {
				return Key{}, err
			}
			return s.revokeKey(k, r.now, r.by)
		}),
		takes(endpoint{method: "POST", path: "/v1/keys/{id}/rotate", status: http.StatusCreated}, func(r *request, ask RotateKey) (NewKey, error) {
			k, err := s.keyOf(r, 0)
			if err != nil {
				return NewKey{}, err
			}
			return s.rotateKey(s.Ledger.Account(k.User).User(), k, r.now, r.by, ask)
		}),
	}
}

// ofUser makes a handler of one that needs the user in the path.
func (s *service) ofUser(f func(*request, *ledger.User) (User, error)) func(*request) (User, error) {
	return func(r *request) (User, error) {
		u, err := s.userOf(r)
		if err != nil {
			return User{}, err
		}
		return f(r, u)
	}
}

func (s *service) userChange(path, what string, change func(*request) func(*ledger.User) error) endpoint {
	return answers(endpoint{method: "POST", path: "/v1/users/{user}/" + path}, s.ofUser(func(r *request, u *ledger.User) (User, error) {
		changed, err := s.changeUser(u, r.now, r.by, what, change(r))
		if err != nil {
			return User{}, err
		}
		return s.user(changed, r.now), nil
	}))
}

func (s *service) limitUser(r *request, ask LimitUser) (User, error) {
	u, err := s.userOf(r)
	if err != nil {
		return User{}, err
	}
	if ask.Amount != nil && *ask.Amount < 0 {
		return User{}, badField("amount", "it cannot be negative; null is no limit")
	}
	u, err = s.changeUser(u, r.now, r.by, "limiting", func(u *ledger.User) error { u.SpendLimit = ask.Amount; return nil })
	if err != nil {
		return User{}, err
	}
	return s.user(u, r.now), nil
}

func (s *service) getKeys(r *request) (KeysPage, error) {
	u, err := s.userOf(r)
	if err != nil {
		return KeysPage{}, err
	}
	after, limit, err := r.page()
	if err != nil {
		return KeysPage{}, err
	}
	return s.keys(u, r.now, after, limit), nil
}

func (s *service) getTop(r *request) ([]TopUser, error) {
	month, err := s.month(r)
	if err != nil {
		return nil, err
	}
	limit, err := r.number("limit", 1, maxPage, 10)
	if err != nil {
		return nil, err
	}
	by := r.param("by")
	if by == "" {
		by = "cost"
	}
	return s.top(r.Context(), month, by, limit)
}

// getExport streams the records of everyone in a month, in the order logged.
func (s *service) getExport(r *request) error {
	month, err := s.month(r)
	if err != nil {
		return err
	}
	media, ok := accepts(r.Header.Get("Accept"), typeNDJSON, typeCSV)
	if !ok {
		return refusal(http.StatusNotAcceptable, "not_acceptable", "An export comes as %s or %s.", typeNDJSON, typeCSV)
	}
	p := s.Ledger.PeriodOf(month)
	return s.streamRecords(r, asked{from: p.Start, to: p.End}, media)
}

func (s *service) status(now time.Time) (Status, error) {
	l, err := s.Ledger.Status()
	if err != nil {
		return Status{}, err
	}
	path, err := filepath.Abs(s.Ledger.Path()) // who asks is in another folder
	if err != nil {
		return Status{}, err
	}
	status := Status{
		Version: s.Version, Started: s.Started.UTC(), UptimeMS: s.Uptime(), Clock: s.clock(now), Ready: true, Live: s.Live(), Refusals: []Refused{},
		Ledger: LedgerStatus{
			Path: path, ID: l.ID, Epoch: l.Epoch, Seq: l.Seq, Head: hexHead(l.Head), LastLogged: l.LastLogged.UTC(), Created: l.Created.UTC(),
			Currency: l.Currency, Timezone: l.Zone, Users: l.Users, FileBytes: l.FileBytes, FreeBytes: l.FreeBytes,
		},
	}
	if err := s.ready(); err != nil {
		status.Ready, status.NotReady = false, problem(err).Detail
	}
	for _, c := range s.Gate.Refusals() {
		status.Refusals = append(status.Refusals, Refused(c))
	}
	return status, nil
}

func (s *service) reload(r *request) error {
	if err := s.Reload(r.Context()); err != nil {
		return refusal(http.StatusUnprocessableEntity, "bad_configuration", "The configuration was not reloaded, the old one stays: %v", err)
	}
	s.Log.Info("configuration reloaded", "by", r.by)
	return nil
}

func (s *service) clock(now time.Time) ClockState {
	mode := "system"
	if s.Clock.Test() {
		mode = "test"
	}
	return ClockState{Mode: mode, Now: now.UTC()}
}

// clockInDoubt is the clock with what billing thinks of it. It waits for the
// invoice that is being collected, which the status need not.
func (s *service) clockInDoubt(now time.Time) ClockState {
	state := s.clock(now)
	if s.Billing != nil {
		state.Doubt = s.Billing.ClockDoubt()
	}
	return state
}

// acceptClock confirms that the clock is right although it went where it can
// hardly be.
func (s *service) acceptClock(r *request) (ClockState, error) {
	b, err := s.billing()
	if err != nil {
		return ClockState{}, err
	}
	if doubt := b.ClockDoubt(); doubt != "" {
		b.AcceptClock()
		s.Log.Info("clock accepted", "doubt", doubt, "by", r.by)
	}
	return s.clockInDoubt(s.Now()), nil
}

func (s *service) setClock(r *request, ask SetClock) (ClockState, error) {
	if ask.Time.Before(r.now) {
		return ClockState{}, badField("time", "the clock is at %s and only goes forward", r.now.UTC().Format(time.RFC3339))
	}
	return s.moveClock(r, func(ctx context.Context) error { return s.Clock.Set(ctx, ask.Time.UTC()) })
}

func (s *service) advanceClock(r *request, ask AdvanceClock) (ClockState, error) {
	if ask.By <= 0 {
		return ClockState{}, badField("by", "the clock only goes forward")
	}
	return s.moveClock(r, func(ctx context.Context) error { return s.Clock.Advance(ctx, time.Duration(ask.By)) })
}

func (s *service) moveClock(r *request, move func(context.Context) error) (ClockState, error) {
	if !s.Clock.Test() {
		return ClockState{}, refusal(http.StatusConflict, "system_clock", "This ledger is on the system's clock, which cannot be moved; a new ledger with [clock] mode = \"test\" can be.")
	}
	if err := move(r.Context()); err != nil {
		return ClockState{}, fmt.Errorf("moving the clock: %w", err)
	}
	now := s.Now()
	s.Log.Info("clock moved", "now", now, "by", r.by)
	return s.clock(now), nil
}

// verify proves the live ledger.
func (s *service) verify(r *request) error {
	return s.work(r, func(ctx context.Context, progress func(done, total uint64)) (ledger.Report, error) {
		report, err := s.Ledger.Verify(ctx, Checks(s.Book), progress)
		s.noteVerified(report, err)
		return report, err
	})
}

// backup writes a consistent copy of the live ledger.
func (s *service) backup(r *request) error {
	var ask BackupRequest
	if err := decodeBody(r.w, r.Request, &ask); err != nil {
		return err
	}
	if !filepath.IsAbs(ask.Path) {
		return badField("path", "%q is not an absolute path", ask.Path)
	}
	return s.work(r, func(ctx context.Context, progress func(done, total uint64)) (ledger.Report, error) {
		return s.Ledger.Backup(ctx, ask.Path, progress)
	})
}

// work answers with lines of [Progress], one for each percent done. The header
// is written with the first of them; an error after it is the last line.
func (s *service) work(r *request, do func(context.Context, func(done, total uint64)) (ledger.Report, error)) error {
	r.w.Header().Set("Content-Type", typeNDJSON)
	lines, flush := json.NewEncoder(r.w), http.NewResponseController(r.w)
	shown := int64(-1)
	report, err := do(r.Context(), func(done, total uint64) {
		if part := int64(done * 100 / max(total, 1)); part > shown {
			shown = part
			_ = lines.Encode(Progress{Done: int64(done), Total: int64(total)}) // a client that left ends the context
			_ = flush.Flush()
		}
	})
	if err != nil && shown < 0 {
		return workFailed(err)
	}
	last := Progress{}
	if err != nil {
		document := problem(workFailed(err)).Problem()
		last.Problem = &document
		s.Log.Error("request failed", "path", r.URL.Path, "error", err)
	} else {
		result := NewLedgerReport(report)
		last.Result = &result
	}
	_ = lines.Encode(last)
	return nil
}

// workFailed tells the operator what went wrong: it is mostly the disk, or the
// payment provider.
func workFailed(err error) error {
	switch known := problem(err); {
	case known.Code != "internal_error":
		return known
	case errors.Is(err, fs.ErrExist):
		return refusal(http.StatusConflict, "file_exists", "%s; give another path.", sentence(err))
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return refusal(http.StatusBadRequest, "bad_path", "%s; the path is the server's, and it must be able to write there.", sentence(err))
	}
	return refusal(http.StatusInternalServerError, "work_failed", "%s.", sentence(err))
}

// Checks are the rules of price that a ledger's verification needs; for
// commands that verify a ledger without a server too.
func Checks(b *pricing.Book) ledger.Checks {
	return ledger.Checks{Cost: func(route *ledger.Version, q ledger.Quantities) (ledger.Amount, error) {
		terms, err := b.Route(route)
		if err != nil {
			return 0, err
		}
		return terms.Cost(q)
	}}
}
