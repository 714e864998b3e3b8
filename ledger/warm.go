package ledger

// Folding a record reads and writes a handful of places of its account, which
// with many users lie far apart in memory: fold waits for each of them, one
// after the other. The loads in a loop of warm do not depend on each other, so
// that the processor makes them at once. With 100,000 users and commits of
// thousands of records the writer does two fifths more for it.

// warmPart is how many records are looked at ahead: what they touch fits the
// processor's cache.
const warmPart = 256

// warmAccounts touches the accounts of items about to be encoded.
func (s *state) warmAccounts(items []item) (sum uint64) {
	if len(items) < 2 {
		return 0
	}
	for i := range items {
		if id := int(items[i].entry.usage.User); id < len(s.accounts) && s.accounts[id] != nil {
			sum += s.accounts[id].tail
		}
	}
	return sum
}

// warmTotals touches the totals of records about to be folded.
func (s *state) warmTotals(part []coded) (sum uint64) {
	if len(part) < 2 {
		return 0
	}
	for _, c := range part {
		if a := s.accounts[c.entry.usage.User]; a != nil {
			sum += a.last + uint64(len(a.months)) + uint64(len(a.hours))
		}
	}
	for _, c := range part {
		a := s.accounts[c.entry.usage.User]
		if a != nil && len(a.months) > 0 {
			sum += uint64(a.months[len(a.months)-1].month)
		}
		if a != nil && len(a.hours) > 0 {
			sum += uint64(a.hours[len(a.hours)-1].hour)
		}
	}
	for _, c := range part {
		a := s.accounts[c.entry.usage.User]
		if a != nil && len(a.months) > 0 {
			if plans := a.months[len(a.months)-1].plans; len(plans) > 0 {
				sum += uint64(plans[0].Calls)
			}
		}
		if a != nil && len(a.hours) > 0 {
			if routes := a.hours[len(a.hours)-1].routes; len(routes) > 0 {
				sum += uint64(routes[0].Calls)
			}
		}
	}
	return sum
}
