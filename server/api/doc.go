// Package api is the HTTP API of customers and of the operator, the types of
// both, and the client that commands and screens use.
//
// The central types:
//
//   - [NewCustomer] serves customers beside the gateway: usage, history, records,
//     pricing, plan, invoices, keys, spend limit, health and /openapi.json.
//   - [NewOperator] serves the operator over a unix socket: users, keys, usage,
//     billing, invoices, reports, export, backup, verify, clock, status, reload.
//     Who may open the socket may do everything; each change names the user id of
//     the peer ([WithPeer]).
//   - [Client] speaks the operator API.
//   - [Options] is what both handlers stand on, [Billing] what they need of
//     monthly billing.
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
//     not.
//   - Streams read a batch of records, leave the ledger alone, and write it as
//     fast as the client takes it: constant memory, no transaction held. A stream
//     that cannot go on breaks the connection; it never ends as if complete.
//   - Cursors are opaque, checked, and name a place in a sequence that never
//     changes: no page shows a record twice or leaves one out.
//
// # Crashes
//
// A change is durable when its answer is sent. Adding a user and rotating a key
// are two entries each, in the order in which a crash between them leaves a user
// without a key, or one key too many.
package api
