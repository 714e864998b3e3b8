package stripetest

import (
	"encoding/json"
	"fmt"
	"io"
)

// saved is the file that Save writes.
type saved struct {
	Format  int    `json:"format"`
	Account string `json:"account"`
	State   *state `json:"state"`
}

const format = 1

// Save writes the whole account as JSON. Faults and recorded requests are not
// part of it, nor are requests under way.
func (s *Server) Save(w io.Writer) error {
	s.mu.Lock()
	data, err := json.Marshal(saved{format, s.options.Account, &s.state})
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("writing the sandbox: %w", err)
	}
	if _, err := w.Write(append(data, '\n')); err != nil {
		return fmt.Errorf("writing the sandbox: %w", err)
	}
	return nil
}

// Load takes back what Save wrote, in place of what is there. If it fails nothing
// has changed.
func (s *Server) Load(r io.Reader) error {
	in := saved{State: &state{}}
	if err := json.NewDecoder(r).Decode(&in); err != nil {
		return fmt.Errorf("reading the sandbox: %w", err)
	}
	switch {
	case in.Format != format:
		return fmt.Errorf("reading the sandbox: its format %d is not known", in.Format)
	case in.Account != s.options.Account:
		return fmt.Errorf("reading the sandbox: it is account %s, not %s", in.Account, s.options.Account)
	case in.State == nil:
		return fmt.Errorf("reading the sandbox: it is empty")
	}
	for _, i := range in.State.Items.all {
		if o := in.State.Invoices.byID[i.Invoice]; o != nil {
			o.items = append(o.items, i)
		}
	}
	for i, p := range in.State.Pending {
		if p.Event == nil {
			return fmt.Errorf("reading the sandbox: a webhook is without its event")
		}
		if e := in.State.Events.byID[p.Event.ID]; e != nil {
			in.State.Pending[i].Event = e // one event, as before
		}
	}
	known := in.State.Keys.Known
	in.State.Keys = keys{}
	for _, k := range known {
		if k != nil && k.Answer.Status != 0 { // 0: it was under way
			in.State.Keys.add(k)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = *in.State
	s.expiry = 0
	for _, o := range s.state.Sessions.all {
		s.expireAt(o)
	}
	return nil
}
