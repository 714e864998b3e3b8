package ledger

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

var update = flag.Bool("update", false, "write golden files anew")

// goldenLedger writes one entry of each kind, usage with and without every
// optional field, with nothing that is random.
func goldenLedger(t *testing.T, path string) {
	t.Helper()
	at := time.Date(2025, 1, 31, 23, 59, 58, 0, time.UTC)
	db, err := openFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	l, err := start(path, db, Options{Now: at})
	if err != nil {
		t.Fatal(err)
	}
	limit := Amount(12_500_000_000)
	row := []byte(`{"salt":"AAECAwQFBgcICQoLDA0ODw==","personal":{"email":"ada@example.com"}}`)
	var personal personalRow
	if err := json.Unmarshal(row, &personal); err != nil {
		t.Fatal(err)
	}
	hash, err := personal.hash()
	if err != nil {
		t.Fatal(err)
	}
	for _, batch := range [][]body{
		{genesis{ID: "000102030405060708090a0b", Created: at, Currency: "usd", TestClock: true}, zoneSet{Zone: "Asia/Kolkata"}, clockSet{at}},
		{versionMade{Version{ID: 1, Kind: RouteVersion, Name: "POST /v1/scan", Terms: []byte(`{"price":{"documents":"0.01"}}`), Made: at, Effective: at}},
			versionMade{Version{ID: 2, Kind: PlanVersion, Name: "free", Terms: []byte(`{"fee":"0"}`), Made: at, Effective: at.Add(time.Hour)}}},
		{userChange{User: User{ID: 1, Status: Active, Created: at, SpendLimit: &limit, PersonalHash: hash}, By: "operator"},
			assignment{User: 1, Plans: []Assignment{{"free", at}}, By: "operator"},
			keyChange{Key: Key{ID: 1, User: 1, Prefix: "tg_live_abc", HashHex: strings.Repeat("ab", 32), Scope: ScopeManage, Created: at}, By: "operator"}},
		{epochBegun{Epoch: 1, From: 8, At: at}},
	} {
		if err := l.record(at, map[UserID][]byte{1: row}, batch...); err != nil {
			t.Fatal(err)
		}
	}
	full := Usage{
		Time: at.Add(-time.Second), Counter: 0xabcdef, User: 1, Key: 1, Route: 1, Plan: 2, Method: "POST", Status: 200,
		Quantities: Quantities{Documents: 3, Tokens: 650, Named: []Quantity{{"images", 2}, {"pages", 7}}},
		Cost:       30_000_000, Billed: true, Estimated: true, Duration: 12500 * time.Microsecond, Outcome: ClientLeft,
		Remember: Remembered{ID: [16]byte{1, 2, 3}, Request: [8]byte{4, 5}},
	}
	bare := Usage{Time: at.Add(3 * time.Second), Route: 1, Method: "BREW", Status: 502, Outcome: Unreachable}
	late := full
	late.Time, late.Remember, late.Named = at.AddDate(0, 0, -40), Remembered{}, nil
	if err := l.Append(at.Add(2*time.Second), []Usage{full, bare, late}, nil).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	seq := l.position.Load().seq - 3 // of the first record: a period is opened for the last
	for ; ; seq-- {
		if u, err := l.usageAt(seq); err == nil && u.Counter == full.Counter {
			break
		}
	}
	if err := l.Correct(at.Add(4*time.Second), Correction{Of: seq, Now: Quantities{Documents: 1}, Cost: 10_000_000, Billed: true, Reason: "asked for", By: "operator"}); err != nil {
		t.Fatal(err)
	}
	bill := Invoice{ID: 1, Number: 1, User: 1, Month: MonthOf(2025, 1), State: Issued, Total: 234, Made: at,
		Lines: []InvoiceLine{{Kind: "overage", Description: "calls", Plan: 2, Meter: "calls", Quantity: 234, UnitPrice: 10_000_000, Amount: 234, From: at, To: at.Add(time.Hour)}}}
	moves, err := bill.follows(nil)
	if err != nil {
		t.Fatal(err)
	}
	paid := bill
	paid.State, paid.Collected, paid.PaidAt, paid.Provider = Paid, 234, at, "in_1"
	paid.Mails = []Mail{{Kind: "invoice", Queued: at, Attempts: 1, Sent: at}}
	received, err := paid.follows(&bill)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.record(at.Add(5*time.Second), nil, entered{bill, moves, "bill run"}, entered{paid, received, "stripe"},
		providerPinned{Provider{Account: "acct_1"}}, reconciled{Epoch: 1, Numbered: 7, By: "stripe"}); err != nil {
		t.Fatal(err)
	}
	if err := l.record(at.Add(6*time.Second), nil, versionMade{Version{ID: 3, Kind: PlanVersion, Name: "free", User: 1, By: "operator", Terms: []byte(`{"fee":"4"}`), Made: at, Effective: at}},
		granted{User: 1, Grant: Grant{Source: Purchase, Amount: 10_000 * Unit, Expires: at.AddDate(1, 0, 0), Reference: "cs_1"}, By: "stripe"}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.TakeCredits(at.Add(7*time.Second), "operator", 1, l.Account(1).Credits()[0].Seq, 4000*Unit, "refunded", "re_1", nil); err != nil {
		t.Fatal(err)
	}
	prepaid := full
	prepaid.Remember, prepaid.Named, prepaid.Burnt = Remembered{}, nil, 6002*Unit
	if err := l.AppendOne(at.Add(8*time.Second), &prepaid, nil).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	bought, err := l.AddPayment(at.Add(9*time.Second), "api", Payment{Kind: PurchasePayment, User: 1, Pack: "10k", Credits: 10_000 * Unit, Expires: at.AddDate(1, 0, 0), Total: 11900,
		Lines: []InvoiceLine{{Kind: "credits", Description: "10000 credits", Quantity: 10_000, Amount: 10_000}, {Kind: TaxLine, Description: "VAT 19 %", Amount: 1900}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*Payment){
		func(p *Payment) {
			p.Tries, p.Intent, p.Next = 1, &Intent{Op: "page", Attempt: 1, Key: "k", At: at}, at
		},
		func(p *Payment) {
			p.Intent, p.Next, p.Provider, p.URL, p.State, p.PaidAt = nil, time.Time{}, "cs_2", "https://pay.example.com", PaymentPaid, at
			p.Tell = []Notice{{Code: CreditsBought, Subject: "payment", Payment: p.ID, Credits: p.Credits, Amount: p.Total, Deliveries: []Delivery{{Channel: "mail"}}}}
		},
		func(p *Payment) { p.Disputed, p.Owed = 11900, 2 },
	} {
		if _, err := l.ChangePayment(at.Add(10*time.Second), "stripe", 1, bought.ID, func(p *Payment) error { change(p); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	told := l.Account(1).User().Notices[0].ID
	if _, err := l.ChangeNotice(at.Add(11*time.Second), 1, told, func(n *Notice) error {
		n.Deliveries[0].Attempts, n.Deliveries[0].Sent, n.Done = 1, at, true
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestGolden shows every change of what is on disk: an old file must stay
// readable, so a change here needs a new format or fold version, or it is
// wrong. Run with -update to take the new bytes.
func TestGolden(t *testing.T) {
	path := filepath.Join(t.TempDir(), "golden.db")
	goldenLedger(t, path)
	db, err := openFile(path, true)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var b bytes.Buffer
	if err := db.View(func(tx *bolt.Tx) error { return dump(&b, tx) }); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "ledger.golden")
	if *update {
		if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	got, old := strings.Split(b.String(), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(got), len(old)) {
		var g, w string
		if i < len(got) {
			g = got[i]
		}
		if i < len(old) {
			w = old[i]
		}
		if g != w {
			t.Errorf("line %d is\n%s\nand was\n%s", i+1, g, w)
		}
	}
	r, err := VerifyFile(t.Context(), path, Checks{}, nil)
	if err != nil || len(r.Problems) > 0 {
		t.Errorf("verify: %v %q", err, r.Problems)
	}
}

// dump writes what the buckets have, the log entry by entry.
func dump(b *bytes.Buffer, tx *bolt.Tx) error {
	return tx.ForEach(func(name []byte, bucket *bolt.Bucket) error {
		fmt.Fprintf(b, "bucket %s\n", name)
		return bucket.ForEach(func(k, v []byte) error {
			switch {
			case bytes.Equal(name, bucketLog):
				return dumpPacked(b, binary.BigEndian.Uint64(k), v)
			case bytes.Equal(name, bucketTail):
				fmt.Fprintf(b, "  head %x\n", v[8:40])
				return dumpPacked(b, binary.BigEndian.Uint64(v), v[40:])
			case json.Valid(v) || bytes.Equal(k, formatKey):
				fmt.Fprintf(b, "  %s: %s\n", printable(k), v)
			default:
				fmt.Fprintf(b, "  %s: %x\n", printable(k), v)
			}
			return nil
		})
	})
}

func printable(k []byte) string {
	if bytes.ContainsFunc(k, func(r rune) bool { return r < 'a' || r > 'z' }) {
		return hex.EncodeToString(k)
	}
	return string(k)
}

func dumpPacked(b *bytes.Buffer, first uint64, value []byte) error {
	p, err := openPacked(first, value)
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "  from entry %d: %x\n", first, value[:len(value)-len(p.rest)])
	for {
		stored, err := p.next()
		if err != nil || stored == nil {
			return err
		}
		if kind(stored[0]) == kindUsage {
			fmt.Fprintf(b, "  entry %d: %x\n", p.at.seq, stored)
		} else {
			i := bytes.IndexByte(stored, '{')
			fmt.Fprintf(b, "  entry %d: %x %s\n", p.at.seq, stored[:i], stored[i:])
		}
	}
}
