// Package admission decides which calls may pass, before they cost anything.
//
// A [Gate] finds the caller of an API key ([Gate.Authenticate]) and admits a
// call ([Gate.Admit]): in one critical section per user it looks at the user's
// status, the rate limits, the quota and the spend limit, and reserves what the
// call asks for. The reservation is a [Hold]. It ends in exactly one of two
// ways: the ledger turns it into settled usage ([Hold.Settle], under the same
// lock under which the record enters the totals), or it is given back
// ([Hold.Release], [Hold.Abandon]). A call that does not pass gets a [Refusal],
// which is the problem document that the client sees.
//
// # Invariants
//
//   - settled + held + asked <= limit holds at every admission, under the lock of
//     the user's ledger account: of N calls at once exactly as many pass as fit.
//   - A hold belongs to the user, the period, the day and the plan version that
//     it was admitted in. One that outlives its month or its day counts against
//     neither the next month nor the next day.
//   - Time does not go back for a user: the day and the period of an admission
//     are never earlier than those of one before it. Minutes are measured on the
//     monotonic clock where the times passed in carry it ([time.Now] does), so
//     that a stepped clock neither opens nor blocks a minute.
//   - A call keeps the route version and the plan version that it was admitted
//     with; they are found once, at admission.
//   - Nothing is cached for a time: a revoked key, a suspended user and a changed
//     plan act on the next call.
//   - No part of a key is ever in a refusal, a problem document or an error.
//
// # Locks
//
// A user's state here is guarded by the lock of the user's [ledger.Account]. No
// ledger method that takes the ledger's own lock is called under it: terms,
// versions and periods are found before.
//
// # Crashes
//
// Holds, minutes and refusal counters live in memory and die with the process.
// What was held was not recorded and is not billed; days and quotas are counted
// from the ledger's totals, which are there again after a crash. Minutes begin
// anew.
package admission
