//go:build race

package ledger_test

// raced tells that the race detector slows the tests down some ten times: they
// then try a part of what they do otherwise.
const raced = true
