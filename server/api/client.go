package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"tollgate/ledger"
)

// Client speaks the operator API of the tollgate that listens at a unix socket.
// Its methods may be called from any goroutine. user is an id or an e-mail
// address throughout. Answers that are not 2xx are an [*Error].
type Client struct {
	socket string
	http   *http.Client
}

// Error is a refused request of the operator API.
type Error struct {
	Problem
}

// Error is the problem's detail, which says what to do next.
func (e *Error) Error() string {
	if e.Detail != "" {
		return e.Detail
	}
	return fmt.Sprintf("%s (status %d)", e.Title, e.Status)
}

// Dial makes a client; it connects when it is first used.
func Dial(socketPath string) *Client {
	var d net.Dialer
	return &Client{socketPath, &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", socketPath)
		},
	}}}
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status is the appliance at a glance.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return call[Status](ctx, c, "GET", "/v1/status", nil)
}

// AddUser adds a user with a first key.
func (c *Client) AddUser(ctx context.Context, u AddUser) (AddedUser, error) {
	return call[AddedUser](ctx, c, "POST", "/v1/users", u)
}

// Users is a page of users by id; cursor "" is the first page, limit 0 the
// server's default.
func (c *Client) Users(ctx context.Context, cursor string, limit int) (UsersPage, error) {
	return call[UsersPage](ctx, c, "GET", "/v1/users"+pageQuery(url.Values{}, cursor, limit), nil)
}

// EachUser walks all users.
func (c *Client) EachUser(ctx context.Context, each func(User) error) error {
	for cursor := ""; ; {
		page, err := c.Users(ctx, cursor, maxPage)
		if err != nil {
			return err
		}
		for _, u := range page.Users {
			if err := each(u); err != nil {
				return err
			}
		}
		if page.NextCursor == nil {
			return nil
		}
		cursor = *page.NextCursor
	}
}

// User is one user.
func (c *Client) User(ctx context.Context, user string) (User, error) {
	return call[User](ctx, c, "GET", userPath(user, ""), nil)
}

// ChangePlan puts a user on another plan.
func (c *Client) ChangePlan(ctx context.Context, user string, p ChangePlan) (PlanChanged, error) {
	return call[PlanChanged](ctx, c, "POST", userPath(user, "/plan"), p)
}

// Suspend keeps a user from calling.
func (c *Client) Suspend(ctx context.Context, user string) (User, error) {
	return call[User](ctx, c, "POST", userPath(user, "/suspend"), nil)
}

// Resume lifts a suspension, whatever it was for.
func (c *Client) Resume(ctx context.Context, user string) (User, error) {
	return call[User](ctx, c, "POST", userPath(user, "/resume"), nil)
}

// CloseUser ends a user's calls for good.
func (c *Client) CloseUser(ctx context.Context, user string) (User, error) {
	return call[User](ctx, c, "POST", userPath(user, "/close"), nil)
}

// Erase removes the personal data of a closed user for good.
func (c *Client) Erase(ctx context.Context, user string) (User, error) {
	return call[User](ctx, c, "POST", userPath(user, "/erase"), nil)
}

// Terms is what holds for a user.
func (c *Client) Terms(ctx context.Context, user string) (UserTerms, error) {
	return call[UserTerms](ctx, c, "GET", userPath(user, "/terms"), nil)
}

// Agree sets terms for one user.
func (c *Client) Agree(ctx context.Context, user string, ask AgreeTerms) (UserTerms, error) {
	return call[UserTerms](ctx, c, "PUT", userPath(user, "/terms"), ask)
}

// Limit sets the operator's spend limit; nil removes it.
func (c *Client) Limit(ctx context.Context, user string, amount *ledger.Amount) (User, error) {
	return call[User](ctx, c, "PUT", userPath(user, "/limit"), LimitUser{amount})
}

// CreateKey makes a key for a user.
func (c *Client) CreateKey(ctx context.Context, user string, k OperatorKey) (NewKey, error) {
	return call[NewKey](ctx, c, "POST", userPath(user, "/keys"), k)
}

// Keys is all keys of a user, in order of creation.
func (c *Client) Keys(ctx context.Context, user string) ([]Key, error) {
	keys := []Key{}
	for cursor := ""; ; {
		page, err := call[KeysPage](ctx, c, "GET", userPath(user, "/keys")+pageQuery(url.Values{}, cursor, maxPage), nil)
		if err != nil {
			return nil, err
		}
		keys = append(keys, page.Keys...)
		if page.NextCursor == nil {
			return keys, nil
		}
		cursor = *page.NextCursor
	}
}

// RevokeKey ends a key at once.
func (c *Client) RevokeKey(ctx context.Context, id ledger.KeyID) (Key, error) {
	return call[Key](ctx, c, "POST", fmt.Sprintf("/v1/keys/%d/revoke", id), nil)
}

// RotateKey makes a key in place of one that works on for the grace time.
func (c *Client) RotateKey(ctx context.Context, id ledger.KeyID, grace time.Duration) (NewKey, error) {
	d := Duration(grace)
	return call[NewKey](ctx, c, "POST", fmt.Sprintf("/v1/keys/%d/rotate", id), RotateKey{&d})
}

// Usage is what a user used in a month, such as "2025-01"; "" is the open one.
func (c *Client) Usage(ctx context.Context, user, month string) (MonthUsage, error) {
	return call[MonthUsage](ctx, c, "GET", userPath(user, "/usage")+query(url.Values{"month": {month}}), nil)
}

// RecordsQuery says which records of a user to read. Zero values ask for all;
// From and To bound the time of the calls, [From, To).
type RecordsQuery struct {
	From, To time.Time
	Month    string // such as "2025-01"; instead of From and To
	Request  string // a request id: that record alone
	Limit    int    // a page: 0 is the server's default; a stream: 0 is all
	Cursor   string
}

func (q RecordsQuery) encode() string {
	v := url.Values{"month": {q.Month}, "request_id": {q.Request}}
	for name, t := range map[string]time.Time{"from": q.From, "to": q.To} {
		if !t.IsZero() {
			v.Set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	return pageQuery(v, q.Cursor, q.Limit)
}

// Records is a page of a user's records, newest first.
func (c *Client) Records(ctx context.Context, user string, q RecordsQuery) (RecordsPage, error) {
	return call[RecordsPage](ctx, c, "GET", userPath(user, "/records")+q.encode(), nil)
}

// Format is how records are streamed.
type Format string

// The formats of streamed records.
const (
	CSV    Format = "csv"
	NDJSON Format = "ndjson"
)

// StreamRecords writes a user's records, newest first, to w as they come.
func (c *Client) StreamRecords(ctx context.Context, user string, q RecordsQuery, f Format, w io.Writer) error {
	return c.stream(ctx, userPath(user, "/records")+q.encode(), f, w)
}

// ExportUsage writes the records of everyone in a month, in the order logged,
// to w as they come. An error after part of it was written means that the rest
// is missing.
func (c *Client) ExportUsage(ctx context.Context, month string, f Format, w io.Writer) error {
	return c.stream(ctx, "/v1/export/usage"+query(url.Values{"month": {month}}), f, w)
}

// Top is the report of the users with the most of by: "cost", "calls" or
// "documents". Zero values: the open month, by cost, ten users.
func (c *Client) Top(ctx context.Context, month, by string, limit int) ([]TopUser, error) {
	return call[[]TopUser](ctx, c, "GET", "/v1/report/top"+pageQuery(url.Values{"month": {month}, "by": {by}}, "", limit), nil)
}

// Backup writes a consistent copy of the live ledger to an absolute path on
// the server. progress, when not nil, is told how far it is.
func (c *Client) Backup(ctx context.Context, path string, progress func(done, total int64)) (LedgerReport, error) {
	return c.work(ctx, "/v1/backup", BackupRequest{path}, progress)
}

// Verify proves the live ledger. progress, when not nil, is told how far it is.
func (c *Client) Verify(ctx context.Context, progress func(done, total int64)) (LedgerReport, error) {
	return c.work(ctx, "/v1/verify", nil, progress)
}

// Clock is the clock that the ledger is on.
func (c *Client) Clock(ctx context.Context) (ClockState, error) {
	return call[ClockState](ctx, c, "GET", "/v1/clock", nil)
}

// AcceptClock confirms that a clock which is in doubt is right.
func (c *Client) AcceptClock(ctx context.Context) (ClockState, error) {
	return call[ClockState](ctx, c, "POST", "/v1/clock/accept", nil)
}

// SetClock sets a test clock; it returns when scheduled work has run.
func (c *Client) SetClock(ctx context.Context, t time.Time) (ClockState, error) {
	return call[ClockState](ctx, c, "PUT", "/v1/clock", SetClock{t})
}

// AdvanceClock moves a test clock forward; it returns when scheduled work has
// run.
func (c *Client) AdvanceClock(ctx context.Context, by time.Duration) (ClockState, error) {
	return call[ClockState](ctx, c, "POST", "/v1/clock/advance", AdvanceClock{Duration(by)})
}

// Reload reads the configuration again, as SIGHUP does.
func (c *Client) Reload(ctx context.Context) error {
	_, err := call[struct{}](ctx, c, "POST", "/v1/reload", nil)
	return err
}

func userPath(user, rest string) string { return "/v1/users/" + url.PathEscape(user) + rest }

// query is v without its empty values, with the question mark.
func query(v url.Values) string {
	for name := range v {
		if v.Get(name) == "" {
			v.Del(name)
		}
	}
	if len(v) == 0 {
		return ""
	}
	return "?" + v.Encode()
}

func pageQuery(v url.Values, cursor string, limit int) string {
	v.Set("cursor", cursor)
	if limit != 0 {
		v.Set("limit", strconv.Itoa(limit))
	}
	return query(v)
}

// call sends body as JSON, when not nil, and reads the answer.
func call[Answer any](ctx context.Context, c *Client, method, path string, body any) (Answer, error) {
	var answer Answer
	r, err := c.do(ctx, method, path, "application/json", body)
	if err != nil {
		return answer, err
	}
	defer r.Body.Close()
	if r.StatusCode == http.StatusNoContent {
		return answer, nil
	}
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil {
		return answer, fmt.Errorf("reading the answer to %s %s: %w", method, path, err)
	}
	return answer, nil
}

func (c *Client) stream(ctx context.Context, path string, f Format, w io.Writer) error {
	accept := map[Format]string{CSV: typeCSV, NDJSON: typeNDJSON}[f]
	if accept == "" {
		return fmt.Errorf("%q is not a format of records; use csv or ndjson", f)
	}
	r, err := c.do(ctx, "GET", path, accept, nil)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if _, err := io.Copy(w, r.Body); err != nil {
		return fmt.Errorf("the stream of records broke off, what was written is not complete: %w", err)
	}
	return nil
}

func (c *Client) work(ctx context.Context, path string, body any, progress func(done, total int64)) (LedgerReport, error) {
	r, err := c.do(ctx, "POST", path, typeNDJSON, body)
	if err != nil {
		return LedgerReport{}, err
	}
	defer r.Body.Close()
	for lines := json.NewDecoder(r.Body); ; {
		var line Progress
		switch err := lines.Decode(&line); {
		case err != nil:
			return LedgerReport{}, fmt.Errorf("tollgate broke off before it was done: %w", err)
		case line.Problem != nil:
			return LedgerReport{}, &Error{*line.Problem}
		case line.Result != nil:
			return *line.Result, nil
		case progress != nil:
			progress(line.Done, line.Total)
		}
	}
}

// do sends a request and returns a 2xx answer, whose body the caller closes.
func (c *Client) do(ctx context.Context, method, path, accept string, body any) (*http.Response, error) {
	var payload io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("writing the request %s %s: %w", method, path, err)
		}
		payload = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://tollgate"+path, payload)
	if err != nil {
		return nil, fmt.Errorf("writing the request %s %s: %w", method, path, err)
	}
	request.Header.Set("Accept", accept)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	r, err := c.http.Do(request)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("no tollgate is listening at %s; start one with: tollgate serve", c.socket)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("you may not use the socket %s; run this as its owner or as a member of its group", c.socket)
	case err != nil:
		return nil, fmt.Errorf("asking tollgate at %s: %w", c.socket, err)
	case r.StatusCode >= 200 && r.StatusCode < 300:
		return r, nil
	}
	defer r.Body.Close()
	refused := &Error{Problem{Status: r.StatusCode, Title: http.StatusText(r.StatusCode)}}
	// A body that is no problem document leaves the status to tell.
	_ = json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&refused.Problem)
	return nil, refused
}
