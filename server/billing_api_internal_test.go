package server

import (
	"errors"
	"fmt"
	"testing"

	"tollgate/ledger"
	"tollgate/server/api"
	"tollgate/server/billing"
)

// TestBillingErrors: each error that somebody can do something about has its code,
// however it is wrapped, and keeps its words.
func TestBillingErrors(t *testing.T) {
	other := errors.New("something else")
	for _, tt := range []struct {
		err  error
		want api.BillingCode
	}{
		{billing.ErrNotNow, api.NotNow},
		{billing.ErrNotEnded, api.MonthNotEnded},
		{billing.ErrNoPack, api.UnknownPack},
		{billing.ErrNoProvider, api.NoProvider},
		{billing.ErrClock, api.ClockInDoubt},
		{billing.ErrDoubt, api.ClockInDoubt},
		{billing.ErrUnknown, api.ProviderUnknown},
		{ledger.ErrMismatch, api.WrongAccount},
		{&billing.Rejection{Code: "resource_missing", Message: "No such invoice"}, api.ProviderRefused},
		{ledger.ErrNotFound, ""},
		{other, ""},
	} {
		wrapped := fmt.Errorf("while testing: %w", tt.err)
		err := billingError(wrapped)
		var got *api.BillingError
		if errors.As(err, &got) != (tt.want != "") || got != nil && got.Code != tt.want || !errors.Is(err, tt.err) || err.Error() != wrapped.Error() {
			t.Errorf("%v: got %v", tt.err, err)
		}
	}
	if err := billingError(nil); err != nil {
		t.Errorf("no error: got %v", err)
	}
}
