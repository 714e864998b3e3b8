// Package billing makes invoices of what was used, and sees that they are paid.
//
// [Billing] is the whole of it. [Billing.Work] does everything that is due;
// [Billing.Run] is the same, asked for by somebody who wants to know what came of
// it; [Billing.Draft] is the invoice of a month as it would be now, by the very
// function that makes it. [Provider], [Mailer] and [WebhookSender] are what billing
// needs of the world; packages stripe, mail and webhook fill them. [Schedule] calls
// it by the clock.
//
// # A bill
//
// A period is billed because it is unbilled, never because of the date: whoever
// calls Work, and however often, finds the months of each user that have ended,
// have had their grace, and have no invoice, oldest first. Sealing one is a single
// entry of the ledger: totals, lines, number, sealed range, the chain's head, and
// the mail about it. From then on the invoice is a state machine in the ledger:
// push it to the provider, collect it, try again later, give it up. Each operation
// is two entries, its intent before the call and its outcome after it, and its
// idempotency key is in the intent. A crash anywhere leaves an intent, and the
// next Work makes the same call with the same key; where the key may be forgotten
// it looks first. Hints of the provider, by webhook or by polling, never carry
// news: they say what to look at.
//
// What arrives for a month after its invoice is charged, or given back, as an
// adjustment on the next one: what the month comes to now, at its own terms, less
// what was invoiced for it.
//
// # Notices
//
// [Billing.Deliver] sends the notices that are in the ledger, by mail to the customer
// and by webhook to the operator's program, and notes each attempt in the ledger
// after it. A crash in between sends the same again, with the same id, by which
// whoever gets it twice can tell. What fails is tried again, webhooks for three days,
// mails as those about invoices; what is given up is logged and stays visible. The
// webhooks of a user keep their order, but one that is never taken holds up the
// others for a day at most. Delivering works beside billing and waits for none of it.
//
// # Payments
//
// What is paid without an invoice is a [ledger.Payment]: a pack of credits on the
// provider's page ([Billing.Buy]), one that is bought for a customer whose credits
// run low, usage of a realtime plan that is charged as it comes. It goes through the
// same two entries a call: intent, outcome. [Billing.Attend] is for one user what Work
// is for all, and is called in the middle of traffic. What was charged of a month
// is taken off its invoice, which is the statement of all of it; a month is not
// sealed while the outcome of such a charge is unknown. What is refunded or disputed
// takes its credits along; what was burnt is owed, and asked for by the next invoice.
//
// [Billing.GrantPlan] gives what a plan has of credits for a period, once.
//
// # Notices
//
// What customers and the operator's programs are told is logged in the commit of
// what it is about. [Billing.Deliver] takes it out, by mail and webhook, at least once, always
// with the same id, beside the rest of billing and without its lock.
//
// # Invariants
//
//   - One invoice a user and month, or one that names the void one it replaces.
//   - Nothing is charged that was not sealed, and nothing is charged twice: one
//     invoice at the provider, found again by the metadata that carry the ledger's
//     id; one payment, which the provider refuses to take twice.
//   - The sum of an invoice's lines is its total; each line was rounded once.
//   - What is below the provider's minimum is carried to the next invoice, once.
//   - A payment is collected once, and its credits are granted in the commit in which
//     it becomes paid.
//   - What is given back is given once: its key never changes, and it is found by it.
//   - One user who cannot be billed keeps nobody else from being billed, and an
//     invoice of which nothing can be learned keeps none from being collected.
//   - No month is billed before those that came before it; a replacement takes
//     nothing up that a later invoice has taken.
//   - Nothing is sealed while the clock is in doubt, and nothing is collected while it
//     is not the provider's.
//   - Only one goroutine bills, collects or mails at a time.
//
// # Crash rules
//
// Nothing is kept outside the ledger but where the last poll ended, and after a
// start polling goes back far enough. What the outbox keeps is a copy. A restored ledger is compared with the
// provider first: see reconcile.
package billing
