// Package ledgertest opens ledgers for tests. Every ledger that it opens is
// verified when its test ends, so that each test of a package above the ledger
// is also a test that the ledger stayed whole.
//
// [Supervise] runs a process and answers each system call by which it changes a
// file: to record it, to make it fail, or to end the process there.
package ledgertest
