package config

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"tollgate/ledger"
)

// Size is a number of bytes, written with its unit: "32MiB".
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"kB", 1e3}, {"B", 1},
}

// ParseSize reads a whole number with a unit: B, KiB, MiB, GiB, TiB (powers of
// 1024) or KB, MB, GB, TB (powers of 1000).
func ParseSize(s string) (Size, error) {
	for _, unit := range sizeUnits {
		digits, ok := strings.CutSuffix(s, unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSuffix(digits, " "), 10, 63)
		if errors.Is(err, strconv.ErrRange) || err == nil && int64(n) > math.MaxInt64/unit.bytes {
			return 0, fmt.Errorf("%q is too large", s)
		}
		if err != nil {
			break
		}
		return Size(int64(n) * unit.bytes), nil
	}
	return 0, fmt.Errorf("%q is not a size such as \"32MiB\"", s)
}

// String is the size in the largest binary unit that divides it.
func (s Size) String() string {
	for _, unit := range sizeUnits[:4] {
		if s != 0 && int64(s)%unit.bytes == 0 {
			return strconv.FormatInt(int64(s)/unit.bytes, 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

func (s *Size) readTOML(n *node) error {
	if i, ok := n.value.(int64); ok {
		return fmt.Errorf("must say its unit: \"%dB\" or \"%dMiB\"", i, i)
	}
	text, err := n.str()
	if err != nil {
		return err
	}
	size, err := ParseSize(text)
	if err != nil {
		return afterColon(err)
	}
	*s = size
	return nil
}

// readDuration reads "30s", "100ms" or "336h".
func readDuration(n *node, d *time.Duration) error {
	if i, ok := n.value.(int64); ok {
		return fmt.Errorf("must say its unit: \"%ds\" or \"%dms\"", i, i)
	}
	text, err := n.str()
	if err != nil {
		return err
	}
	duration, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("is %q, which is not a duration such as \"30s\", \"100ms\" or \"336h\"", text)
	}
	if duration < 0 {
		return errors.New("must not be negative")
	}
	*d = duration
	return nil
}

// shortDuration drops what is zero at the end: "336h", not "336h0m0s".
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Percent is a part of a hundred in nanos: 19.6 % is 19,600,000,000. The share
// of an amount is amount.Share(int64(p), int64(100*ledger.Unit)).
type Percent int64

// String is the shortest decimal form, without the sign: "19.6".
func (p Percent) String() string { return shortAmount(ledger.Amount(p)) }

func (p *Percent) readTOML(n *node) error {
	var a ledger.Amount
	if err := readAmount(n, &a); err != nil {
		return err
	}
	if a > 100*ledger.Unit {
		return errors.New("must be between \"0\" and \"100\"")
	}
	*p = Percent(a)
	return nil
}

// readAmount reads money: a decimal string that is not negative.
func readAmount(n *node, a *ledger.Amount) error {
	switch n.value.(type) {
	case int64, float64:
		return fmt.Errorf("must be written in quotes, so that it stays exact: %q", n.text)
	}
	text, err := n.str()
	if err != nil {
		return err
	}
	amount, err := ledger.ParseAmount(text)
	if err != nil {
		return afterColon(err)
	}
	if amount < 0 {
		return errors.New("must not be negative")
	}
	*a = amount
	return nil
}

// shortAmount drops zeros at the end, but keeps two decimals of what has any.
func shortAmount(a ledger.Amount) string {
	whole, decimals, _ := strings.Cut(a.String(), ".")
	decimals = strings.TrimRight(decimals, "0")
	switch len(decimals) {
	case 0:
		return whole
	case 1:
		decimals += "0"
	}
	return whole + "." + decimals
}

// TimeOfDay is a time of day in the billing zone, as a span since midnight on
// the clock.
type TimeOfDay time.Duration

// String is "01:00".
func (t TimeOfDay) String() string {
	minutes := int(time.Duration(t) / time.Minute)
	return fmt.Sprintf("%02d:%02d", minutes/60, minutes%60)
}

func (t *TimeOfDay) readTOML(n *node) error {
	text, err := n.str()
	if err != nil {
		return err
	}
	at, err := time.Parse("15:04", text)
	if err != nil || len(text) != 5 {
		return fmt.Errorf("is %q, which is not a time of day such as \"01:00\"", text)
	}
	*t = TimeOfDay(time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute)
	return nil
}

// readNetwork reads a CIDR, or one address.
func readNetwork(n *node, p *netip.Prefix) error {
	text, err := n.str()
	if err != nil {
		return err
	}
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		*p = netip.PrefixFrom(addr, addr.BitLen())
		return nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return fmt.Errorf("holds %q, which is not a network such as \"10.0.0.0/8\"", text)
	}
	if prefix != prefix.Masked() {
		return fmt.Errorf("holds %q, an address with a mask; the network is %q", text, prefix.Masked())
	}
	*p = prefix
	return nil
}

// date is a calendar day, written "2025-03-01" with or without quotes.
type date struct {
	year  int
	month time.Month
	day   int
}

func (c *date) readTOML(n *node) error {
	t, ok := n.value.(time.Time)
	if text, isString := n.value.(string); isString {
		var err error
		if t, err = time.Parse(time.DateOnly, text); err != nil {
			return fmt.Errorf("is %q, which is not a day such as \"2025-03-01\"", text)
		}
		ok = true
	} else if ok && t.Location().String() != "date-local" { // the library's mark of a date without a time
		ok = false
	}
	if !ok {
		return fmt.Errorf("must be a day such as \"2025-03-01\", not %s", n.describe())
	}
	c.year, c.month, c.day = t.Date()
	return nil
}

// in is the first instant of the day in a zone, in UTC.
func (c *date) in(zone *time.Location) time.Time {
	if c == nil {
		return time.Time{}
	}
	return time.Date(c.year, c.month, c.day, 0, 0, 0, 0, zone).UTC()
}

// readInstant reads a point in time in RFC 3339, with or without quotes.
func readInstant(n *node, i *time.Time) error {
	switch value := n.value.(type) {
	case string:
		t, err := time.Parse(time.RFC3339, value)
		if err != nil {
			return fmt.Errorf("is %q, which is not a time such as \"2025-01-15T00:00:00Z\"", value)
		}
		*i = t.UTC()
		return nil
	case time.Time:
		if !strings.HasSuffix(value.Location().String(), "-local") { // the library's marks of times without a zone
			*i = value.UTC()
			return nil
		}
	}
	return fmt.Errorf("must be a time with its zone such as \"2025-01-15T00:00:00Z\", not %s", n.describe())
}

// StatusSet is a set of HTTP status codes from 100 to 599, written
// "2xx,3xx" or "200,404". Values compare with ==.
type StatusSet struct{ bits [8]uint64 }

// ParseStatusSet reads codes and classes of codes, separated by commas.
func ParseStatusSet(s string) (StatusSet, error) {
	var set StatusSet
	for word := range strings.SplitSeq(s, ",") {
		word = strings.TrimSpace(word)
		class, isClass := strings.CutSuffix(word, "xx")
		n, err := strconv.ParseUint(class, 10, 16)
		switch {
		case err == nil && isClass && n >= 1 && n <= 5:
			for code := n * 100; code < n*100+100; code++ {
				set.add(int(code))
			}
		case err == nil && !isClass && n >= 100 && n <= 599:
			set.add(int(n))
		default:
			return StatusSet{}, fmt.Errorf("%q is not a status code or class such as \"2xx\" or \"404\"", word)
		}
	}
	return set, nil
}

func (s *StatusSet) add(code int) { s.bits[(code-100)/64] |= 1 << ((code - 100) % 64) }

// Contains tells whether a status code is in the set.
func (s StatusSet) Contains(code int) bool {
	return code >= 100 && code <= 599 && s.bits[(code-100)/64]&(1<<((code-100)%64)) != 0
}

// String is the shortest form that ParseStatusSet reads.
func (s StatusSet) String() string {
	var words []string
	for class := 100; class < 600; class += 100 {
		var codes []string
		for code := class; code < class+100; code++ {
			if s.Contains(code) {
				codes = append(codes, strconv.Itoa(code))
			}
		}
		if len(codes) == 100 {
			codes = []string{strconv.Itoa(class/100) + "xx"}
		}
		words = append(words, codes...)
	}
	return strings.Join(words, ",")
}

func (s *StatusSet) readTOML(n *node) error {
	text, err := n.str()
	if err != nil {
		return err
	}
	set, err := ParseStatusSet(text)
	if err != nil {
		return afterColon(err)
	}
	*s = set
	return nil
}

// readStandard reads the types of other packages that have a form of their own
// in the file, and tells whether target is one of them.
func readStandard(n *node, target any) (known bool, err error) {
	switch target := target.(type) {
	case *time.Duration:
		return true, readDuration(n, target)
	case *time.Time:
		return true, readInstant(n, target)
	case *ledger.Amount:
		return true, readAmount(n, target)
	case *netip.Prefix:
		return true, readNetwork(n, target)
	}
	return false, nil
}

// afterColon makes an error that begins with the bad value the end of a
// sentence that begins with its key.
func afterColon(err error) error { return fmt.Errorf(": %w", err) }
