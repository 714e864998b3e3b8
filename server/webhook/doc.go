// Package webhook tells the operator's program of notices, by webhooks that are
// signed as https://www.standardwebhooks.com says. It fills
// [tollgate/server/billing.WebhookSender].
//
// # Types
//
// [Sender] is all there is, made by [New] from [Options]. It keeps no queue: each
// call is one request, a POST of a JSON object with type, timestamp and data. The
// type is the code of the notice, the timestamp is when what it tells of happened.
//
// # Errors
//
// 2xx is success. An error wraps billing.ErrGone where the receiver answers 410, by
// which it says that it wants no more. All else, redirects too, may or may not have
// been taken, and is tried again. Errors have neither the receiver's address nor
// its answer in them: both can hold a secret, and the ledger forgets nothing.
//
// # Invariants
//
//   - The header webhook-id is the same for each attempt at a notice, and of no
//     other; webhook-timestamp and webhook-signature are those of the attempt.
//   - What is signed is what is sent, to the byte.
//   - A receiver can take neither time nor memory without end: the time for a
//     request is bounded, and so is what is read of the answer.
//
// # Crashes
//
// Nothing is kept here. Sent again after a crash, a webhook has the same id, by
// which the receiver tells that it had it.
package webhook
