// Package sample is the built-in sample API: a small document service that a
// newcomer can meter at once, before any API of one's own stands behind the
// gateway. It is the upstream "builtin:sample".
//
// It has two calls, both deterministic, so that the same request always has the
// same answer and can be compared with what the ledger recorded:
//
//	POST /v1/scan     {"docs": [{"id": "a", "content": "..."}]}
//	POST /v1/analyze  {"texts": ["..."]}
//
// Each answer has one result for each document, a summary, and
// usage.total_tokens: what the shipped routes measure. It keeps no state.
package sample
