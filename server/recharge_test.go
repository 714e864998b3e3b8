package server_test

import "tollgate/server/pricing"

func recharge() *pricing.Recharge { return &pricing.Recharge{Below: 500, Pack: "10k", PerDay: 3} }
