// Package api is the HTTP API of customers and of the operator, the types of
// both, and the client that commands and screens use.
//
// The central types:
//
//   - [NewCustomer] serves customers beside the gateway: usage, history, records,
//     pricing, plan, invoices, credits and their purchase, keys, spend limit, health
//     and /openapi.json.
//   - [NewOperator] serves the operator over a unix socket: users, keys, usage,
//     credits, billing, invoices, payments, notices, reports, export, backup, verify,
//     clock, status, reload.
//     Who may open the socket may do everything; each change names the user id of
//     the peer ([WithPeer]).
//   - [Client] speaks the operator API.
//   - [Overview], [UsersView], [UserView], [RecordsTail] and [BillingView] are what
//     the screens show, as streams of the operator API; see below.
//   - [Options] is what both handlers stand on, [Billing] what they need of
//     billing.
//   - [Clean], [Count], [Exact], [Minor] and [Size] write what commands and screens
//     show, so that both write it alike.
//
// An endpoint is a row of a table: method, path, who may use it, its parameters,
// and a function from Go types to Go types. The mux, the checks of parameters
// and bodies, and the OpenAPI document are made from the same row. Handlers find
// user and parameters and call the one function of the service that does the
// work, which both APIs share: the answer about usage, its history, the month as
// the operator sees it, all come from the same rated account.
//
// # Invariants
//
//   - Every answer that is not a success is an RFC 9457 problem document with a
//     code; errors become statuses in one place (problem).
//   - Unknown query parameters, unknown fields and missing fields are refused: a
//     misspelt bound must not ask for everything, an empty object must not remove
//     a limit.
//   - No sum of money passes through a float, in either direction.
//   - An [Invoice] has one JSON form. A month that was invoiced costs what its
//     invoice says, everywhere; one that has ended and was not is a draft, made by
//     the function that bills.
//   - What the payment provider said is for the operator; a customer is told that
//     it failed.
//   - Another user's key does not exist (404). A key's secret is in one answer,
//     the one that made it, and in no log.
//   - Reading, revoking keys and setting the own spend limit stay open to
//     suspended and closed users, so that they can pay and be safe; new keys do
//     not. Suspended users can buy credits, closed ones cannot.
//   - What was charged while it was used is in a month's charges and in its
//     invoice's total; it is never added to them. Credit packs are beside both.
//   - Streams read a batch of records, leave the ledger alone, and write it as
//     fast as the client takes it: constant memory, no transaction held. A stream
//     that cannot go on breaks the connection; it never ends as if complete.
//   - Cursors are opaque, checked, and name a place in a sequence that never
//     changes: no page shows a record twice or leaves one out.
//
// # Screens
//
// The operator API has a stream for each screen of `tollgate top`:
//
//	GET /v1/watch/overview
//	GET /v1/watch/users?sort=&up=true&filter=&offset=&limit=
//	GET /v1/watch/users/{user}
//	GET /v1/watch/records?user=&route=&status=&outcome=&limit=
//	GET /v1/watch/billing?state=
//
// Each line is an object. {"view": ...} is the view whole, the first at once, then
// at most one a second and only when something but the time has changed; of records
// it is those that came since. {} is sent after 15 seconds without one, as a sign
// of life. {"problem": ...} is the last line where the stream could not go on, as
// when the server stops (draining). An error before the first view is a problem
// document with its status.
//
//   - Nothing is computed while nobody watches, but a sample of the counters every
//     five seconds. All who watch share what is made of the whole ledger.
//   - Figures come from the functions that answer `tollgate usage` and customers.
//     Those of one user, of a page of users and of the month's usage are of the
//     moment of the view. What all users owe is rated in the background, at most
//     2 % of a core, and says when; the order of users is made again the later the
//     longer it took. With 100,000 users charges are about a minute old, and the
//     order some seconds; a small ledger's are new in each view.
//   - An account is locked for one read of its totals; records are read in the short
//     transactions of the ledger, and what comes faster than it can be looked at is
//     counted (RecordsTail.Skipped).
//   - Of the payments and notices of all users only what is in memory is walked;
//     those that wait for money are read, at most a thousand.
//   - Days and routes are sums of whole hours: one that midnight cuts, in zones
//     whose offset is not whole hours, counts where it begins.
//
// # Crashes
//
// A change is durable when its answer is sent. Adding a user and rotating a key
// are two entries each, in the order in which a crash between them leaves a user
// without a key, or one key too many.
package api
