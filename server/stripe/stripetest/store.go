package stripetest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// stored is a pointer to an object type.
type stored[T any] interface {
	*T
	base() *Base
}

// table holds the objects of one kind, oldest first.
type table[T any, P stored[T]] struct {
	all  []P
	byID map[string]P
}

func (t *table[T, P]) add(o P) {
	if t.byID == nil {
		t.byID = map[string]P{}
	}
	t.all = append(t.all, o)
	t.byID[o.base().ID] = o
}

func (t *table[T, P]) remove(id string) {
	delete(t.byID, id)
	for i := len(t.all) - 1; i >= 0; i-- {
		if t.all[i].base().ID == id {
			t.all = slices.Delete(t.all, i, i+1)
			return
		}
	}
}

// dropFirst forgets the n oldest.
func (t *table[T, P]) dropFirst(n int) {
	for _, o := range t.all[:n] {
		delete(t.byID, o.base().ID)
	}
	clear(t.all[:n])
	t.all = t.all[n:]
}

func (t table[T, P]) MarshalJSON() ([]byte, error) { return json.Marshal(t.all) }

func (t *table[T, P]) UnmarshalJSON(data []byte) error {
	var all []P
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	*t = table[T, P]{}
	for _, o := range all {
		if o == nil {
			return fmt.Errorf("an object is null")
		}
		t.add(o)
	}
	return nil
}

// state is all that the account remembers; it is what Save writes.
type state struct {
	Seq            int64                                `json:"seq"`
	Customers      table[Customer, *Customer]           `json:"customers"`
	PaymentMethods table[PaymentMethod, *PaymentMethod] `json:"payment_methods"`
	SetupIntents   table[SetupIntent, *SetupIntent]     `json:"setup_intents"`
	Sessions       table[Session, *Session]             `json:"sessions"`
	Invoices       table[Invoice, *Invoice]             `json:"invoices"`
	Items          table[InvoiceItem, *InvoiceItem]     `json:"items"`
	Intents        table[PaymentIntent, *PaymentIntent] `json:"payment_intents"`
	Charges        table[Charge, *Charge]               `json:"charges"`
	Refunds        table[Refund, *Refund]               `json:"refunds"`
	CreditNotes    table[CreditNote, *CreditNote]       `json:"credit_notes"`
	Disputes       table[Dispute, *Dispute]             `json:"disputes"`
	Products       table[Product, *Product]             `json:"products"`
	Prices         table[Price, *Price]                 `json:"prices"`
	Portals        table[PortalSession, *PortalSession] `json:"portals"`
	Endpoints      table[Endpoint, *Endpoint]           `json:"endpoints"`
	Events         table[Event, *Event]                 `json:"events"`
	Pending        []pending                            `json:"pending,omitempty"`
	Keys           keys                                 `json:"keys"`
}

// newID is the next id with a prefix. They sort in the order in which they were
// given. The end follows from Options.Seed: who does not know that cannot guess
// the address of a page.
func (s *Server) newID(prefix string) string {
	s.state.Seq++
	var in [16]byte
	binary.BigEndian.PutUint64(in[:8], s.options.Seed)
	binary.BigEndian.PutUint64(in[8:], uint64(s.state.Seq))
	sum := sha256.Sum256(in[:])
	const digits = "0123456789ABCDEFGHJKLMNPQRSTVWXYZabcdefghijkmnopqrstuvwxyz"
	id := fmt.Appendf(nil, "%s_1%s%08d", prefix, s.tag, s.state.Seq)
	for _, b := range sum[:8] {
		id = append(id, digits[int(b)%len(digits)])
	}
	return string(id)
}

// invoicePrefix is what the numbers of a customer's invoices begin with.
func (s *Server) invoicePrefix() string { return fmt.Sprintf("SB%05d", s.state.Seq) }

// newBase is the beginning of an object.
func (s *Server) newBase(prefix, object string, metadata map[string]string) Base {
	if metadata == nil {
		metadata = map[string]string{}
	}
	return Base{ID: s.newID(prefix), Object: object, Created: s.now().Unix(), Livemode: s.options.Live, Metadata: metadata}
}

// suffix is an id without its prefix.
func suffix(id string) string {
	return id[strings.LastIndexByte(id, '_')+1:]
}

// find is the view of any object, for expansion; nil if there is none.
func (s *Server) find(id string) any {
	st := &s.state
	if o, ok := st.Products.byID[id]; ok {
		return *o // their ids may be anything
	}
	i := strings.IndexByte(id, '_')
	if i < 0 {
		return nil
	}
	switch id[:i] {
	case "cus":
		return viewOf(&st.Customers, id, s.viewCustomer)
	case "pm":
		return viewOf(&st.PaymentMethods, id, plain)
	case "seti":
		return viewOf(&st.SetupIntents, id, plain)
	case "in":
		return viewOf(&st.Invoices, id, s.viewInvoice)
	case "ii":
		return viewOf(&st.Items, id, plain)
	case "pi":
		return viewOf(&st.Intents, id, plain)
	case "ch":
		return viewOf(&st.Charges, id, plain)
	case "re":
		return viewOf(&st.Refunds, id, plain)
	case "cn":
		return viewOf(&st.CreditNotes, id, s.viewCreditNote)
	case "dp":
		return viewOf(&st.Disputes, id, plain)
	case "price":
		return viewOf(&st.Prices, id, plain)
	}
	return nil
}

func viewOf[T any, P stored[T]](t *table[T, P], id string, view func(P) any) any {
	if o, ok := t.byID[id]; ok {
		return view(o)
	}
	return nil
}

// plain is the object itself, as it is now.
func plain[T any](o *T) any { return *o }
