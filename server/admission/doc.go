// Package admission decides which calls may pass, before they cost anything.
//
// A [Gate] finds the caller of an API key ([Gate.Identify], [Gate.Authenticate])
// and admits a call ([Gate.Admit]): in one critical section per user it looks at
// the user's status, the rate limits, the quota and the spend limit, and reserves
// what the call asks for. The reservation is a [Hold]. It ends in exactly one of
// two ways: the ledger turns it into settled usage ([Hold.Settle], under the same
// lock under which the record enters the totals), or it is given back
// ([Hold.Release], [Hold.Abandon]). A call that does not pass gets a [Refusal],
// which [WriteProblem] sends to the client.
//
// The life of a call:
//
//	caller, refusal := gate.Identify(r.Header, addr, now())
//	hold, refusal := gate.Admit(caller, admission.Ask{Now: now(), Route: pattern, Asked: asked})
//	defer hold.Release()
//	...                       // forward, measure; hold.Extend where more is used
//	hold.HandOver()
//	err := ledger.AppendOne(hold.NotBefore(now()), &record, hold).Wait(ctx)
//	if err != nil {
//		hold.Abandon()
//	}
//
// # Invariants
//
//   - settled + held + asked <= limit holds at every admission, under the lock of
//     the user's ledger account: of N calls at once exactly as many pass as fit.
//   - A hold belongs to the user, the period, the day and the plan version that
//     it was admitted in. One that outlives its month or its day counts against
//     neither the next month nor the next day.
//   - Time does not go back for a user: the day and the period of an admission
//     are never earlier than those of one before it, also of one before a
//     restart. Minutes are measured on the monotonic clock where the times passed
//     in carry it ([time.Now] does), so that a stepped clock neither opens nor
//     blocks a minute. A refused call leaves no trace in time.
//   - A call keeps the route version and the plan version that it was admitted
//     with; they are found once, at admission.
//   - Nothing is kept for a length of time: a revoked key, a suspended user, a
//     changed plan and a new version act on the next call. What is remembered of
//     a user's terms is thrown away when the user's snapshot, the versions or the
//     segment of the period have changed.
//   - Included quantities and charges come from the pricing functions that bill.
//   - No part of a key is ever in a refusal, a problem document or an error.
//
// # Locks
//
// A user's state here is guarded by the lock of the user's [ledger.Account]. The
// ledger takes its own lock first and then an account's, so nothing here may call
// a ledger method while an account is locked: key, terms, versions and periods
// are found before. Where another call has begun a new day or period in between,
// they are found again.
//
// # Notices
//
// A user who comes near a limit is watched from then on: the ledger's writer asks the
// watcher, in the commit of each record, whether something is to be told of it
// (tell.go). What is refused has no record; it is left to Options.Notice.
//
// # Crashes
//
// Holds, minutes and refusal counters live in memory and die with the process.
// What was held was not recorded and is not billed; days and quotas are counted
// from the ledger's totals, which are there again after a crash. Minutes begin
// anew.
package admission
