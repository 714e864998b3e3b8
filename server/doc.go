// Package server is the appliance: it wires the ledger, admission, the gateway
// and the APIs together and runs them as one process.
//
// [New] opens everything that can fail at the start: the configuration's terms
// are compared with the ledger's, listeners are bound. [Server.Run] serves until
// its context ends and then stops in order. [Server.Reload] takes up a changed
// configuration. [Clock] is the one time that all parts go by.
//
// # Listeners
//
// The public listener serves tollgate's own paths first and the routes behind
// them. The unix socket serves the operator API to whoever may open the file
// (0660). The metrics listener, off by default, serves Prometheus.
//
// # Screens
//
// A sampler reads the counters of gateway, admission and ledger every five seconds
// and keeps ten minutes of them, so that the screens can tell of the last minute
// when they are opened (watch.go). It is all that is done for them while nobody
// watches. Their streams end when the server begins to drain, and so hold up no
// stop.
//
// # Left behind by calls
//
// What a call makes due and must not wait for, a charge, a recharge, a notice of a
// refusal, is done by one goroutine (attend.go). What a crash loses of it the
// schedule finds again, but for such a notice, which the next refusal brings.
//
// # Order
//
// At the start: ledger, clock, terms, upstreams, listeners; a part that fails
// closes those before it. At the stop: no new connections and not ready, running
// calls finish within [server] drain, what is left is cut, the ledger settles
// what was cut, writes its checkpoint and closes. No call is answered after the
// ledger is closed.
//
// # Crashes
//
// The package keeps no state of its own on disk; what a crash leaves is the
// ledger's, and the socket file, which the next start replaces. When a commit
// fails the ledger takes nothing more: Run ends with an error at once, the
// process must end with it, and the next start opens the ledger anew.
//
// # Versions
//
// The terms of plans and the prices of routes are kept in the ledger as
// versions. A start or a reload publishes those that changed, for the start of
// the next period or the configuration's `effective`; a plan that is in use
// cannot be left out. A reload checks everything before it changes anything.
package server
