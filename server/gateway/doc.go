// Package gateway is the path of a metered call: it finds the route, has the
// caller admitted, forwards the call to its upstream, measures what passes, and
// records what was used before the caller has the last byte of the answer.
//
// # Types
//
// [Gateway] is the handler of all calls. It serves by a [Routing]: [Route]s and
// [Upstream]s that were checked by [NewRouting] and are replaced as a whole by
// [Gateway.Reload], without touching calls that run. A [Source] says where the
// quantity of one meter is read: in the request, in the answer, or nowhere
// because it is fixed.
//
// Inside, a call is one value, used by the goroutine of its handler. The
// httputil.ReverseProxy moves the bytes; the call hangs on to it at four places:
// the request it makes (rewrite), the headers of the answer (answered), the body
// of the answer (answerBody) and the lack of one (unanswered).
//
// # Measuring
//
// JSON is read by a push lexer that is fed whatever chunks come, keeps none of
// them, and is of fixed size; it checks the grammar of the whole document and
// finds any number of JSON Pointers in one pass (4 GB/s through a long string,
// where encoding/json needs the document in memory). Only numbers that are whole,
// not negative and at most [ledger.MaxQuantity] are quantities. Of server-sent events the data is
// read, each event a document. Gzip is decoded on the side, as a coroutine that
// each chunk resumes: nothing runs beside the call, and what it decodes is
// bounded. What the client and the upstream say to each other is never changed by
// it, save that on routes that read the answer's body Range is dropped and
// Accept-Encoding reduced to gzip or identity.
//
// In a request, a key on the way to a quantity that stands twice, also with other
// capitals, makes the request unmeasurable: decoders differ in which one they
// take, and the upstream must not see another quantity than was admitted. In an
// answer the last one wins.
//
// A body is read before admission where its JSON is measured, where it has an
// Idempotency-Key, and where its bytes are counted and it does not give its
// length. Up to 64 KiB of it stay in memory, out of a budget for all; the rest is
// in a file without a name.
//
// # Invariants
//
//   - No answer ends before its record is durable (unless Options.Relaxed): with a
//     Content-Length the last piece is held back, otherwise the end alone, so that
//     a stream is never delayed by one event; an answer without a body is held
//     whole. Where the commit fails, the answer is replaced by a 503 if none of it
//     was sent, and else the connection breaks.
//   - Each call that was admitted ends in exactly one record or, where that cannot
//     be committed, in none and an error at the client. Its hold ends with it on
//     every way out.
//   - A refused call never reaches the upstream. A forwarded one is never refused
//     afterwards, save for a commit that fails and an upload that grows too large.
//   - The upstream's context ends with the call, not with the client: after the
//     client has left, the answer is read on within the route's bounds, for its
//     usage.
//   - An unbilled record has no quantities, so that the sums of records agree with
//     totals.
//   - A call keeps its route, prices and plan from admission to its record.
//   - No client keeps a call by doing nothing: it has Options.Patience to accept a
//     piece of the answer, and to send a piece of its request until the upstream
//     has answered. A body that is read first must also come at a steady pace.
//   - Memory per call is bounded, whatever passes.
//
// # Crashes
//
// Nothing is kept here but what dies with the process: holds, idempotency keys
// in flight, counters. A call whose record was not committed was not answered to
// its end. Spooled bodies have no name on disk and vanish with the process.
package gateway
