// Package ledger keeps what must still be true after a crash: an append-only
// log of entries in one bbolt file, and the totals folded from it.
//
// # Types
//
// [Ledger] is an open file. [Usage] is the record of one metered call, handed
// over with [Ledger.Append], which gives a [Pending] to wait on. [Account] is a
// user with what has been used; its lock makes "settled + held + asked <=
// limit" one step for admission. [Invoice] and [Payment] are what is owed and
// collected, [Notice] what is told of it. [Amount] is money and [Period] a billing
// month. Everything else is read through methods of Ledger.
//
// The package knows no clock, no network, no logger and no rule of price: time
// is an argument, and [Ledger.Verify] is given the functions that know prices.
//
// # The log is the truth
//
// Entries are numbered from 1 without gaps and never change. Each is one kind
// byte, the step of logged time since the entry before (uvarint, milliseconds)
// and its content: varints for usage records (codec.go), JSON for the few
// others, so that these can grow fields. Kinds: the ledger's identity, usage,
// user, plan assignment, key, plan and route versions, names, periods, time
// zones, corrections, test clock, epochs, invoices, the payment provider, credits
// granted and taken, payments, notices. Numbers of kinds are never reused.
//
// Each entry is chained: head = SHA-256(head before, format byte, stored
// bytes). Entries are packed into values of at most 2,016 bytes, two of which
// fill a page of bbolt: a leaf does not split before it has more than four
// items, so larger values would be rewritten several times. The value that is
// still open lives in a bucket of its own, "tail", with the head after its last
// entry, and moves to "log" when it is full. A value begins with the head and the logged time before its first
// entry (pack.go), so that each can be read and proved alone.
//
// A usage record takes 25 to 28 bytes. It links to the same user's previous
// record by its distance; the records of a user, newest first, are a walk over
// these links, without an index. The request id encodes its time and a counter:
// its record is found by seeking to that time.
//
// Personal data lies in a bucket of its own. The log has its salted hash, so
// that erasing a user breaks no chain.
//
// # Invoices
//
// An invoice entry is the whole invoice as it is from then on: with what is under
// way at the payment provider (its intent, written before the call) and the mails
// about it, so that each step of a bill is one entry, and a crash anywhere leaves a
// step that can be taken again. Memory has an [InvoiceRef] for each, in the user's
// snapshot; the invoice itself is read from the log. Each entry carries what it
// moves between the accounts of the books, which sums to zero. What was sealed,
// lines, total, number, range and head, never changes.
//
// # Payments
//
// A [Payment] is money that is no invoice's: for credits, or for usage of a month
// before its invoice. Like an invoice, each entry is the whole payment as it is from
// then on, with the intent of the call to the provider that is under way, and what
// moves in the books; memory has a [PaymentRef] in the user's snapshot. What it is
// for and comes to never changes. The id is the number of its first entry, so that
// nobody has to count.
//
// The credits that were bought are granted by the entry behind the one in which the
// payment becomes paid: one commit has both or none, and the grant names the
// payment. In the same entry it gets the number of its receipt, the next over all
// users.
//
// What was charged of a month is the Advance of its invoice, which must say so. Where
// the month comes to less, the rest is carried, below zero. Money that goes back
// lowers what was sold or is earned, save what was used already: that is Owed, as if
// it were carried, until it is paid or a new invoice asks for it. One that becomes
// void asks no more: it is owed again, save what has come back since. The entries of
// these payments are next to the invoice's, in its commit.
//
// # Notices
//
// A [Notice] is told once for a code, month and subject, and is logged in the commit
// of what it tells of: with an invoice or payment by their Tell, with a record by the
// account's [Watcher]. The writer asks it before the commit, with totals and credits
// as they will be when the record and all before it are folded, and puts the notice
// right behind the record: what crosses a threshold is told however the process ends.
// Accounts without a watcher cost nothing. A notice that cannot be stored is left out;
// it is no reason to lose a record.
//
// Each attempt to deliver a notice is an entry of it, until it is done with. Memory
// has a [NoticeRef] of those that are not, and of the others for three months after
// their own, so that a record which comes late tells nothing again.
//
// # Credits
//
// A grant is an entry, and so is what is taken of one because it expired or was
// paid back; what a call burns is in the call's own record. The log's order says
// which grant is burnt, of those that had not expired when the call was admitted:
// soonest expiry, then given before bought, then the oldest.
// Memory has what is left of each grant, the account's row too. The credit entries
// of a user are linked, newest first.
//
// A balance never falls below zero, whatever admission believed: the writer knows
// what every earlier entry has left, lowers Burnt of a record to that, and says the
// rest in Uncovered. A correction of a record gives no credits back; that is a grant.
//
// # One apply
//
// state.apply folds an entry into the state: after a commit, at open, in
// verify, and in copies. There is no other way to change a total. Logged time
// never falls, and an instant's period is computed once, when the log first
// needs it, and kept as an entry: no change of zone or zone data moves it.
//
// # Commit
//
// One goroutine, the writer, commits. Appenders join the open batch; the writer
// takes it whole, encodes it, commits it with one bbolt transaction, folds it,
// runs the settlers (a hold becomes settled under its account's lock, in the
// same step in which the totals rise) and only then wakes everybody. It lets
// others run for as long as that makes the batch grow, and waits half a
// millisecond where commits have been small but not of one caller: whoever comes
// during a commit is in the next.
//
// # Checkpoints
//
// Totals are in memory; the rows on disk are written every 500,000 entries or
// 60 seconds of logged time, on demand, and at Close. A checkpoint is what the state was at one
// position, written in slices of 512 accounts that ride on the commits of other
// entries; an account that changes before its slice comes is set aside first. The
// row "checkpoint" says which position the rows stand for and, while one is under
// way, up to which user they are of the next already.
//
// Months are kept per user and plan version; the newest two in memory, all on
// disk under month | user. Hours are kept per user and route version: memory has
// only what was added since the last checkpoint, which merges it into rows packed
// like the log (hours.go). User 0 stands for everyone together.
//
// # Crash rules
//
//   - A crash loses nothing that was acknowledged: Wait returns after the
//     commit. Open loads the last checkpoint, skips what an unfinished one has
//     written already, replays the entries after it and proves their chain.
//   - When a commit returns an error its outcome is unknown, and after a failed
//     fsync the page cache may show what the disk lacks. The ledger then refuses
//     everything (ErrUnavailable), closes [Ledger.Failed] and leaves a marker
//     beside the file; the process must end. The next Open rewrites the file from its log before
//     it trusts it.
//   - A full disk is met before it is reached: room is allocated ahead, and below
//     Options.MinFree nothing is committed (ErrLowDisk). That loses nothing and
//     ends when there is room. Open itself needs none.
//   - A file that is cut off, torn (copied while in use) or of another program
//     is refused with ErrCorrupt. Damage met later, while reading, is an error
//     of that call.
//   - Backup, restore, rewriting and verify are one walk over the log into a new
//     file (fold.go), in short read transactions: bbolt cannot use freed pages again
//     while one is open. The copy appears under its name when it is durable.
//   - A restored ledger begins a new epoch.
//   - A payment whose intent has no outcome was perhaps made: whoever opens the ledger
//     asks the provider. One that is paid has its credits; one that is not has none.
//   - A notice that is not done with is perhaps delivered: it goes out again, with the
//     same id.
//   - Entries that an unfinished checkpoint has in a user's row are not folded into it
//     again: what the row has forgotten stays forgotten.
//
// # Invariants that Verify proves
//
// Sequence without gaps; chain; logged time never falls; each entry decodes;
// each record's period contains its time; links lead to the user's previous
// record; cost is what the route version says; no cost where nothing is billed;
// a correction names an earlier record as it was, once;
// one invoice a user and month, or one that names the void one it replaces; numbers
// without gaps; lines that sum to the total; moves that follow from them; states
// that follow each other; no more collected than is due; sealed heads on the chain;
// payments that follow from what they were, with moves that follow from them, receipt
// numbers without gaps, each of the provider's ids of one payment; credits next to
// each purchase that becomes paid, and none that name a payment elsewhere; what
// invoices ask for of payments noted next to them; one notice of a code, month and
// subject, as far as they are kept in mind, that tells what it told;
// no credits burnt or taken but those that were there;
// accounts, months, hours and registry equal what the log gives; remembered ids are those of the entries
// they lead to; the checkpoint is on the chain, which ends as the tail says;
// personal data has the hash in the log, and is absent where it was erased.
package ledger
