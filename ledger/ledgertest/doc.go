// Package ledgertest opens ledgers for tests. Every ledger that it opens is
// verified when its test ends, so that each test of a package above the ledger
// is also a test that the ledger stayed whole.
package ledgertest
