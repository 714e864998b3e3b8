package pricing_test

import (
	"testing"

	"tollgate/ledger"
	"tollgate/server/pricing"
)

func BenchmarkRouteCost(b *testing.B) {
	route := pricing.Route{Pattern: "POST /v1/scan", Price: map[string]ledger.Amount{"documents": cent, "tokens": 1}}
	q := ledger.Quantities{Documents: 12, Tokens: 3400}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := route.Cost(q); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUsageCharge(b *testing.B) {
	more := ledger.PlanTotals{Plan: 1, Totals: ledger.Totals{Calls: 3}}
	for _, bb := range []struct {
		name string
		in   pricing.Input
		used []ledger.PlanTotals
	}{
		{"segments=1", whole(april(b), shipped(b, "pro")), calls(51_000)},
		{"segments=2", moved(april(b), shipped(b, "free"), shipped(b, "pro"), day(16, 12)), calls(900, 51_000)},
		{"tiers=3", whole(april(b), &pricing.Plan{ID: "x", Prices: []pricing.Price{graduated}}), documents(12_345)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			s := schedule(b, bb.in)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.UsageCharge(bb.used, more); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRate is the whole of rating a user: assignments to segments to lines.
func BenchmarkRate(b *testing.B) {
	book, versions, p := pricing.NewBook(), shippedVersions(b), april(b)
	for _, bb := range []struct {
		name string
		user *ledger.User
		used []ledger.PlanTotals
	}{
		{"segments=1", user(longAgo, ledger.Assignment{Plan: "free", From: longAgo}), calls(1234)},
		{"segments=2", user(longAgo, ledger.Assignment{Plan: "free", From: longAgo}, ledger.Assignment{Plan: "pro", From: day(16, 12)}), calls(900, 51_000)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s, err := book.Schedule(versions, bb.user, p, pricing.Basis{Digits: 2})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := s.Rate(bb.used); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
