// Package stripetest is a stand-in for Stripe: an http.Handler that speaks the
// part of Stripe's REST API that a metered bill needs, remembers what it was
// told, and fails on demand. Tests run against it, and it is the built-in
// sandbox for people who try billing without an account. No money moves.
//
// The central types:
//
//   - [Server] is one Stripe account: customers, invoices, charges, events, and
//     the idempotency keys of the last 24 hours. It serves the API below /v1/ and
//     the pages that customers see (checkout, invoice, portal).
//   - [Card] is a test card; its number says how it behaves.
//   - [Fault] is a failure to come, for the n-th request or for a path.
//   - [Delivery] is how webhooks are sent: late, twice, in another order, or not.
//
// Requests are forms with nested keys, answers are JSON in the shapes of API
// version 2023-10-16. Fields that Stripe has as null are left out.
//
// Invariants: one mutex guards the account, so each request is done whole or not
// at all, also when its connection is cut. Lists are consistent. All time comes
// from Options.Now, all ids from a counter and Options.Seed: the same requests in
// the same order give the same bytes.
//
// State is in memory. [Server.Save] writes it down whole, [Server.Load] takes it
// back; what happened after the last Save is gone after a crash. Events are kept
// for 30 days and idempotency keys for 24 hours, as Stripe does, so memory grows
// only with the objects.
//
// Inside a program, call the API over [Server.Transport] and show the world only
// [Server.Pages], below any prefix that Options.URL ends in: any key that looks
// right opens the API, unless Options.Key is set. Give a secret Options.Seed where
// the pages are public, because their addresses follow from it.
//
// The sandbox is only told what to do: auto_advance is kept and shown, but no
// invoice is finalized or collected by itself.
//
// Rules come from Stripe's API reference unless said otherwise. What was chosen
// where the reference is silent is said where it is done.
package stripetest
