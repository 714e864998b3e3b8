//go:build !race

package ledger_test

// raced tells that the race detector slows the tests down.
const raced = false
