package pricing_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

const mill = ledger.Unit / 1000

var graduated = pricing.Price{Meter: "documents", Model: pricing.Graduated,
	Tiers: []pricing.Tier{{UpTo: 1000, Unit: 10 * mill}, {UpTo: 10_000, Unit: 5 * mill}, {Unit: mill}}}

var volume = pricing.Price{Meter: "documents", Model: pricing.Volume,
	Tiers: []pricing.Tier{{UpTo: 1000, Unit: 10 * mill, Flat: ledger.Unit}, {Unit: 5 * mill, Flat: 2 * ledger.Unit}}}

func TestModels(t *testing.T) {
	flat := graduated
	flat.Tiers = []pricing.Tier{{UpTo: 10, Flat: ledger.Unit}, {Unit: cent, Flat: 3 * ledger.Unit}}
	included := graduated
	included.Included = 500
	tests := []struct {
		name  string
		price pricing.Price
		n     int64
		want  string
	}{
		{"unit", pricing.Price{Model: pricing.UnitModel, Unit: 3 * mill}, 7, "0.021"},
		{"unit, included", pricing.Price{Model: pricing.UnitModel, Unit: cent, Included: 5}, 7, "0.02"},
		{"unit, less than included", pricing.Price{Model: pricing.UnitModel, Unit: cent, Included: 5}, 4, "0"},
		{"package, none", pricing.Price{Model: pricing.Package, Unit: ledger.Unit, Size: 100}, 0, "0"},
		{"package, one started", pricing.Price{Model: pricing.Package, Unit: ledger.Unit, Size: 100}, 1, "1"},
		{"package, full", pricing.Price{Model: pricing.Package, Unit: ledger.Unit, Size: 100}, 100, "1"},
		{"package, the next", pricing.Price{Model: pricing.Package, Unit: ledger.Unit, Size: 100}, 101, "2"},
		{"package, included", pricing.Price{Model: pricing.Package, Unit: ledger.Unit, Size: 100, Included: 100}, 101, "1"},
		{"graduated, first tier", graduated, 1000, "10"},
		{"graduated, one more", graduated, 1001, "10.005"},
		{"graduated, all tiers", graduated, 10_500, "55.5"},
		{"graduated, included", included, 2000, "12.5"},
		{"graduated, flat", flat, 10, "1"},
		{"graduated, both flats", flat, 11, "4.01"},
		{"graduated, none", flat, 0, "0"},
		{"volume, first tier", volume, 1000, "11"},
		{"volume, second tier", volume, 1001, "7.005"},
		{"volume, none", volume, 0, "0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.price.Meter = "documents"
			in := whole(april(t), &pricing.Plan{ID: "x", Prices: []pricing.Price{tt.price}, Billing: pricing.Monthly})
			got := rate(t, in, documents(tt.n))
			if want := amount(t, tt.want); got.Usage != want {
				t.Errorf("got %v, want %v\n%+v", got.Usage, want, got.Lines)
			}
			charge, err := schedule(t, in).UsageCharge(documents(tt.n), ledger.PlanTotals{})
			if err != nil || charge != got.Usage {
				t.Errorf("UsageCharge: got %v, %v; want %v", charge, err, got.Usage)
			}
		})
	}
}

func TestPriceBeyondAQuota(t *testing.T) {
	plan := &pricing.Plan{ID: "x", Quota: map[string]int64{"documents": 100}, OnExceed: pricing.Bill, Prices: []pricing.Price{graduated}}
	in := whole(april(t), plan)
	if got := rate(t, in, documents(100)); got.Usage != 0 {
		t.Errorf("within the quota: got %v", got.Usage)
	}
	if got := rate(t, in, documents(1101)); got.Usage != amount(t, "10.005") || got.Lines[0].Kind != pricing.OverageLine {
		t.Errorf("beyond it: got %v\n%+v", got.Usage, got.Lines)
	}
}

func TestDescriptionsOfTiers(t *testing.T) {
	var got []string
	for _, price := range []pricing.Price{graduated, volume,
		{Meter: "documents", Model: pricing.Package, Unit: cent, Size: 1000, Included: 500},
		{Meter: "documents", Model: pricing.Volume, Tiers: []pricing.Tier{{Unit: cent}}},
	} {
		in := whole(april(t), &pricing.Plan{ID: "x", Name: "Docs", Prices: []pricing.Price{price}})
		for _, line := range rate(t, in, documents(12_345)).Lines {
			got = append(got, line.Description)
		}
	}
	want := []string{
		"Docs: documents, tier up to 1,000", "Docs: documents, tier up to 10,000", "Docs: documents, tier above 10,000",
		"Docs: documents, tier above 1,000", "Docs: documents, tier above 1,000, flat",
		"Docs: documents after 500 included, 11,845 in packages of 1,000",
		"Docs: documents, tier any number",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMinimums(t *testing.T) {
	p := april(t)
	meter := pricing.Price{Meter: "documents", Model: pricing.UnitModel, Unit: cent, Minimum: 5 * ledger.Unit}
	both := &pricing.Plan{ID: "x", Minimum: 20 * ledger.Unit, Prices: []pricing.Price{meter}, Billing: pricing.Monthly}
	half := whole(p, both)
	half.Segments[0].From = day(16, 0)
	tests := []struct {
		name  string
		in    pricing.Input
		n     int64
		want  []int64 // of the lines
		usage string
	}{
		{"nothing used", whole(p, both), 0, []int64{500, 1500}, "0"},
		{"below both", whole(p, both), 300, []int64{300, 200, 1500}, "3"},
		{"below the plan's", whole(p, both), 1200, []int64{1200, 800}, "12"},
		{"above both", whole(p, both), 3000, []int64{3000}, "30"},
		{"exactly", whole(p, both), 2000, []int64{2000}, "20"},
		{"half the month", half, 100, []int64{100, 150, 750}, "1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := rate(t, tt.in, documents(tt.n))
			var got []int64
			for _, line := range s.Lines {
				got = append(got, line.Minor)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
			if want := amount(t, tt.usage); s.Usage != want {
				t.Errorf("usage charge: got %v, want %v", s.Usage, want)
			}
		})
	}
}

func TestQuota(t *testing.T) {
	p := april(t)
	capped := &pricing.Plan{ID: "capped", ByCost: true, Quota: map[string]int64{"calls": 600}, OnExceed: pricing.Block}
	in := moved(p, shipped(t, "pro"), capped, day(16, 0))
	s := schedule(t, in)
	used := calls(30_000, 200)
	if got, ok := s.Quota(1, "calls", used); !ok || got != (pricing.Quota{Meter: "calls", Included: 25_000, Used: 30_000}) || got.Remaining() != 0 || got.Beyond() != 5000 {
		t.Errorf("pooled: got %+v, %v", got, ok)
	}
	if got, ok := s.Quota(2, "calls", used); !ok || got != (pricing.Quota{Meter: "calls", Included: 300, Used: 200}) || got.Remaining() != 100 {
		t.Errorf("by cost, alone: got %+v, %v", got, ok)
	}
	if got, ok := s.Quota(1, "documents", used); ok {
		t.Errorf("unlimited: got %+v", got)
	}
}
