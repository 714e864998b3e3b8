package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"
)

// ErrWatchEnded: the server ended the stream, as it does when it stops.
var ErrWatchEnded = errors.New("tollgate ended the connection; is it stopping?")

// ErrWatchSilent: not even a sign of life has come for a while, as when the server
// is stopped in a debugger.
var ErrWatchSilent = errors.New("tollgate has sent nothing for a while; is it still there?")

// silentAfter is three signs of life.
const silentAfter = 45 * time.Second

// WatchOverview tells each of the overview now and of each change, until ctx
// ends, each fails or the connection does.
func (c *Client) WatchOverview(ctx context.Context, each func(Overview) error) error {
	return watch(ctx, c, "/v1/watch/overview", nil, each)
}

// WatchUsers is [Client.WatchOverview] for a page of users.
func (c *Client) WatchUsers(ctx context.Context, q UsersQuery, each func(UsersView) error) error {
	values := url.Values{"sort": {q.Sort}, "filter": {q.Filter}}
	if q.Up {
		values.Set("up", "true")
	}
	return watch(ctx, c, "/v1/watch/users", number(number(values, "offset", q.Offset), "limit", q.Limit), each)
}

// WatchUser is [Client.WatchOverview] for one user.
func (c *Client) WatchUser(ctx context.Context, user string, each func(UserView) error) error {
	return watch(ctx, c, "/v1/watch"+userPath(user, "")[len("/v1"):], nil, each)
}

// WatchRecords follows the records as they are made.
func (c *Client) WatchRecords(ctx context.Context, f RecordsFilter, each func(RecordsTail) error) error {
	values := url.Values{"user": {f.User}, "route": {f.Route}, "status": {f.Status}, "outcome": {f.Outcome}}
	return watch(ctx, c, "/v1/watch/records", number(values, "limit", f.Limit), each)
}

// WatchBilling is [Client.WatchOverview] for billing; state "" lists the invoices
// of all states.
func (c *Client) WatchBilling(ctx context.Context, state string, each func(BillingView) error) error {
	return watch(ctx, c, "/v1/watch/billing", url.Values{"state": {state}}, each)
}

func number(values url.Values, name string, n int) url.Values {
	if n != 0 {
		values.Set(name, strconv.Itoa(n))
	}
	return values
}

// watch reads a stream of values, one a line, until it ends.
func watch[T any](ctx context.Context, c *Client, path string, values url.Values, each func(T) error) error {
	for name, v := range values {
		if len(v) == 1 && v[0] == "" {
			values.Del(name)
		}
	}
	if len(values) > 0 {
		path += "?" + values.Encode()
	}
	heard, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(silentAfter, func() { cancel(ErrWatchSilent) })
	defer silence.Stop()
	r, err := c.do(heard, "GET", path, typeNDJSON, nil)
	if err != nil {
		return cmp.Or(context.Cause(heard), err)
	}
	defer r.Body.Close()
	for lines := json.NewDecoder(r.Body); ; silence.Reset(silentAfter) {
		var line struct {
			Problem *Problem `json:"problem"`
			View    *T       `json:"view"`
		}
		err := lines.Decode(&line)
		silence.Stop() // each may take its time
		switch {
		case heard.Err() != nil:
			return context.Cause(heard)
		case errors.Is(err, io.EOF):
			return ErrWatchEnded
		case err != nil:
			return fmt.Errorf("reading from tollgate: %w", err)
		case line.Problem != nil:
			return &Error{*line.Problem}
		case line.View == nil: // a sign of life
		default:
			if err := each(*line.View); err != nil {
				return err
			}
		}
	}
}
