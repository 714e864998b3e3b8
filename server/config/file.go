package config

import (
	"errors"
	"time"

	"tollgate/ledger"
)

// file is the whole file as written. Its structs are the one list of known
// keys; what a Config holds in another shape has a struct of its own here.
type file struct {
	Server      Server         `toml:"server"`
	Ledger      Ledger         `toml:"ledger"`
	Billing     Billing        `toml:"billing"`
	Stripe      Stripe         `toml:"stripe"`
	Mail        Mail           `toml:"mail"`
	Notify      Notify         `toml:"notify"`
	Clock       Clock          `toml:"clock"`
	Upstreams   []upstreamFile `toml:"upstream"`
	Routes      []routeFile    `toml:"route"`
	Plans       []planFile     `toml:"plan"`
	CreditPacks []packFile     `toml:"credit_pack"`
}

type upstreamFile struct {
	At      *node
	Name    string            `toml:"name"`
	URL     string            `toml:"url"`
	Timeout *time.Duration    `toml:"timeout" least:"1ms"`
	Headers map[string]string `toml:"headers"`
}

type routeFile struct {
	At         *node
	Pattern    string                   `toml:"pattern"`
	Upstream   string                   `toml:"upstream"`
	Documents  *sourceFile              `toml:"documents"`
	Tokens     *sourceFile              `toml:"tokens"`
	Meters     map[string]*sourceFile   `toml:"meters"`
	Price      map[string]ledger.Amount `toml:"price"`
	Auth       *string                  `toml:"auth" oneof:"key,none"`
	BillStatus *StatusSet               `toml:"bill_status"`
	Drain      *drainFile               `toml:"drain"`
	Hold       map[string]int64         `toml:"hold" least:"1"`
	Timeout    time.Duration            `toml:"timeout" least:"1ms"`
	Effective  *date                    `toml:"effective"`
}

type drainFile struct {
	Bytes   *Size `toml:"bytes"`
	Seconds *int  `toml:"seconds" least:"0"`
}

// planFile holds pointers, as a plan that is shipped keeps what is not given.
type planFile struct {
	At              *node
	ID              string                   `toml:"id"`
	Name            *string                  `toml:"name"`
	Fee             *fee                     `toml:"fee"`
	Quota           map[string]int64         `toml:"quota" least:"0"`
	Overage         map[string]ledger.Amount `toml:"overage"`
	Prices          []priceFile              `toml:"price"`
	ByCost          *bool                    `toml:"by_cost"`
	Minimum         *ledger.Amount           `toml:"minimum"`
	OnExceed        *string                  `toml:"on_exceed" oneof:"block,bill,bill_if_payable"`
	Billing         *string                  `toml:"billing" oneof:"monthly,realtime,prepaid"`
	Public          *bool                    `toml:"public"`
	Exposure        *ledger.Amount           `toml:"exposure"`
	RateLimits      *rateLimitsFile          `toml:"rate_limits"`
	ChargeThreshold *ledger.Amount           `toml:"charge_threshold"`
	Credits         *credits                 `toml:"credits"`
	CreditValue     *ledger.Amount           `toml:"credit_value"`
	CreditsLow      *int64                   `toml:"credits_low" least:"0"`
	Grant           *grantFile               `toml:"grant"`
	Recharge        *rechargeFile            `toml:"recharge"`
	Effective       *date                    `toml:"effective"`
}

type priceFile struct {
	At       *node
	Meter    string         `toml:"meter"`
	Model    string         `toml:"model" oneof:"unit,package,graduated,volume"`
	Unit     *ledger.Amount `toml:"unit"`
	Size     *int64         `toml:"size" least:"1"`
	Included int64          `toml:"included" least:"0"`
	Minimum  ledger.Amount  `toml:"minimum"`
	Tiers    []tierFile     `toml:"tiers"`
}

type tierFile struct {
	At   *node
	UpTo *int64         `toml:"up_to" least:"1"`
	Unit *ledger.Amount `toml:"unit"`
	Flat ledger.Amount  `toml:"flat"`
}

type rateLimitsFile struct {
	PerMinute *int `toml:"per_minute" least:"0"`
	PerDay    *int `toml:"per_day" least:"0"`
}

type rechargeFile struct {
	At     *node
	Below  *int64 `toml:"below" least:"0"`
	Pack   string `toml:"pack"`
	PerDay *int   `toml:"per_day" least:"1"`
}

type grantFile struct {
	At       *node
	Credits  *int64 `toml:"credits" least:"1"`
	Rollover int64  `toml:"rollover" least:"0"`
}

type packFile struct {
	At      *node
	ID      string         `toml:"id"`
	Credits *int64         `toml:"credits" least:"1"`
	Price   *ledger.Amount `toml:"price"`
	Expires time.Duration  `toml:"expires" least:"1m"`
}

// fee is an amount, or "custom".
type fee struct {
	amount ledger.Amount
	custom bool
}

func (f *fee) readTOML(n *node) error {
	if n.value == "custom" {
		*f = fee{custom: true}
		return nil
	}
	return readAmount(n, &f.amount)
}

// credits is what a call burns: "cost", or credits a unit of each meter.
type credits struct {
	byCost   bool
	perMeter map[string]int64
}

func (c *credits) readTOML(n *node) error {
	if n.value == "cost" {
		c.byCost = true
		return nil
	}
	if n.kind != tableKind {
		return errors.New("must be \"cost\", or a table of credits a unit such as { documents = 1 }")
	}
	c.perMeter = make(map[string]int64, len(n.keys))
	for _, meter := range n.keys {
		amount, ok := n.fields[meter].value.(int64)
		if !ok || amount < 0 {
			return errors.New("must have whole numbers of credits, not negative")
		}
		c.perMeter[meter] = amount
	}
	return nil
}
