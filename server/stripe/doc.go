// Package stripe collects money through Stripe. It fills [billing.Provider], with
// [billing.Payments], and is the only package that knows Stripe's API.
//
// The central types are [Client], which talks to one account for one ledger, and
// [Verify], which reads webhooks. [Client.Setup] and [Client.Check] are for the
// operator.
//
// # Invariants
//
//   - Every object that is made carries the ledger's id, the epoch, the user and,
//     for invoices, our invoice's id, number and period in its metadata, and for
//     other payments the payment's id and what it is for. Objects
//     without our ledger's id are never changed, whoever names them.
//   - One invoice of ours is one invoice at Stripe. It is looked for in the
//     customer's list before it is made, unless the caller knows that it was
//     never sent; lists are consistent at Stripe, search is not. It is finalized
//     only with the very total that was asked for, and nothing is ever collected
//     but by Pay: invoices are made with auto_advance off.
//   - A payment that is no invoice's is one payment intent for each attempt. One
//     that is made on a page is known by the page's id, whichever is asked for.
//   - A refund names which part of a payment it gives back, and is looked for by
//     that before it is made.
//   - Every POST has an idempotency key that is the caller's key and the name of
//     the step, so that the same call made again is the same requests.
//   - Nothing is retried in here. Billing owns retries; stripe-go's own are off.
//     net/http repeats a request whose kept-alive connection turns out to be
//     closed before a byte of the answer came; the key makes that harmless.
//   - Amounts are integers in Stripe's minor units, which are the ledger's.
//
// # When a call breaks off
//
// A call fails in one of two ways. A [*billing.Rejection] is an answer of Stripe
// that it did not do it, or a refusal from in here, before anything was sent.
// Everything else (a broken connection, a timeout, a server error, an answer that
// cannot be read, a request with the same key still under way) wraps
// [billing.ErrUnknown]: it may have been done. The same call with the same key
// then ends in the same place, also when Stripe has forgotten the key, which it
// may after 24 hours: what is there is found by its metadata and only what is
// missing is made. [Client.Collect] and [Client.PayPage] are the exception: a
// payment may be tried more than once, and which attempts are still of interest is
// for the caller to say. Once the key may be forgotten, [Client.FindReceipt] has to
// be asked first.
//
// Stripe remembers failures of its own under a key as well, and answers with them
// again (https://docs.stripe.com/api/idempotent_requests). Such an answer says
// that the earlier request has ended. The client looks what it left behind and,
// where it did nothing, goes on under the key with ".2", ".3" and so on.
//
// # What the key must be allowed
//
// A restricted key needs to write customers, checkout sessions, the customer
// portal, invoices, credit notes, payment intents, refunds, products and prices, and
// to read charges, disputes, events, payment methods, setup intents, webhook
// endpoints and the account.
package stripe
