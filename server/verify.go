package server

import (
	"context"

	"tollgate/ledger"
	"tollgate/server/api"
	"tollgate/server/pricing"
)

// VerifyFile proves a ledger that no process has open, by the same rules of
// price as the running server. progress may be nil.
func VerifyFile(ctx context.Context, path string, progress func(done, total uint64)) (ledger.Report, error) {
	return ledger.VerifyFile(ctx, path, api.Checks(pricing.NewBook()), progress)
}
