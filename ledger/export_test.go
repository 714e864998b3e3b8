package ledger

import (
	"fmt"
	"time"
)

// AddUsers adds n users with few commits, for tests with many.
func AddUsers(l *Ledger, now time.Time, n int) error {
	first := len(l.state.accounts)
	for done := 0; done < n; done += 1000 {
		var bodies []body
		personal := map[UserID][]byte{}
		for i := done; i < min(n, done+1000); i++ {
			id := UserID(first + i)
			row, hash, err := newPersonalRow(Personal{Email: fmt.Sprintf("u%d@example.com", id)})
			if err != nil {
				return err
			}
			personal[id] = row
			bodies = append(bodies, userChange{User: User{ID: id, Status: Active, Created: now, PersonalHash: hash}},
				assignment{User: id, Plans: []Assignment{{"free", now}}})
		}
		if err := l.record(now, personal, bodies...); err != nil {
			return err
		}
	}
	return nil
}
