package stripe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	stripego "github.com/stripe/stripe-go/v76"
)

// Plan is a plan that is to have a product and a price at Stripe.
type Plan struct {
	ID       string
	Name     string
	Currency string // ISO 4217, lower case
	Fee      int64  // minor units a month
	Custom   bool   // the fee is agreed with each customer: a product without price
}

// PlanObjects are what a plan has at Stripe.
type PlanObjects struct {
	Plan    string
	Product string
	Price   string   // "" where the fee is agreed
	Made    []string // the ids that were not there before
}

// Setup makes a product and a monthly price for each plan, where they are not
// there yet, and gives products their plans' names. Nothing is charged by them:
// they are what the operator sees and reports on in Stripe's dashboard. A fee
// that changed makes a further price; prices cannot be changed, and the old one
// stays.
func (c *Client) Setup(ctx context.Context, plans []Plan) ([]PlanObjects, error) {
	var all []PlanObjects
	for _, p := range plans {
		got := PlanObjects{Plan: p.ID}
		if err := c.setUp(ctx, p, &got); err != nil {
			return all, fmt.Errorf("setting up plan %s at Stripe: %w", p.ID, err)
		}
		all = append(all, got)
	}
	return all, nil
}

func (c *Client) setUp(ctx context.Context, p Plan, got *PlanObjects) error {
	if _, err := amount(p.Currency, p.Fee); err != nil {
		return err
	}
	product, made, err := c.product(ctx, p)
	if err != nil {
		return err
	}
	got.Product = product
	if made {
		got.Made = append(got.Made, product)
	}
	if p.Custom {
		return nil
	}
	got.Price, made, err = c.price(ctx, p, product)
	if made {
		got.Made = append(got.Made, got.Price)
	}
	return err
}

func (c *Client) planTags(p Plan) map[string]string {
	return map[string]string{tagLedger: c.ledger, tagPlan: p.ID}
}

// product makes the plan's product or finds it: we choose its id, so that there
// can be one only.
func (c *Client) product(ctx context.Context, p Plan) (id string, made bool, err error) {
	id = name("tollgate", c.ledger, p.ID)
	path := stripego.FormatURLPath("/v1/products/%s", id)
	var got stripego.Product
	look := func() (bool, error) {
		got = stripego.Product{}
		err := c.get(ctx, path, &stripego.ProductParams{}, &got)
		if missing(err) {
			return false, nil
		}
		return err == nil, err
	}
	there, err := look()
	if err != nil {
		return "", false, err
	}
	if !there {
		params := &stripego.ProductParams{ID: &id, Name: &p.Name, Metadata: c.planTags(p)}
		err := c.persist(name(id, "product", digest(p.Name)), look, func(key string) error {
			return c.post(ctx, key, "/v1/products", params, &got)
		})
		return id, err == nil, err
	}
	if got.Metadata[tagLedger] != c.ledger {
		return "", false, refuse(notOurs, "product %s has not our ledger's id in its metadata", id)
	}
	if got.Name != p.Name {
		// As with a customer's default: to name it twice is to name it once.
		key := name(id, "name", digest(p.Name), strconv.FormatInt(c.now().UnixMilli(), 10))
		err = c.post(ctx, key, path, &stripego.ProductParams{Name: &p.Name}, &stripego.Product{})
	}
	return id, false, err
}

// price makes the plan's price or finds it by its lookup key, which names the fee.
func (c *Client) price(ctx context.Context, p Plan, product string) (id string, made bool, err error) {
	lookup := name(product, p.Currency, strconv.FormatInt(p.Fee, 10), "month")
	var got *stripego.Price
	look := func() (bool, error) {
		params := &stripego.PriceListParams{LookupKeys: []*string{&lookup}}
		for price, err := range list(ctx, c, "/v1/prices", params, func(p *stripego.Price) string { return p.ID }) {
			if err != nil {
				return false, err
			}
			if price.Metadata[tagLedger] != c.ledger {
				return false, refuse(notOurs, "price %s has our lookup key and not our ledger's id in its metadata", price.ID)
			}
			got = price
			return true, nil
		}
		return false, nil
	}
	there, err := look()
	if there || err != nil {
		return idOf(got), false, err
	}
	params := &stripego.PriceParams{
		Product:    &product,
		Currency:   &p.Currency,
		UnitAmount: &p.Fee,
		Recurring:  &stripego.PriceRecurringParams{Interval: stripego.String(string(stripego.PriceRecurringIntervalMonth))},
		LookupKey:  &lookup,
		Metadata:   c.planTags(p),
	}
	err = c.persist(lookup, look, func(key string) error {
		got = &stripego.Price{}
		return c.post(ctx, key, "/v1/prices", params, got)
	})
	if err == nil && idOf(got) == "" {
		err = unreadable("reading a price")
	}
	return idOf(got), err == nil, err
}

func idOf(p *stripego.Price) string {
	if p == nil {
		return ""
	}
	return p.ID
}

// name joins what identifies an object. It is cut to a digest where it gets
// longer than a lookup key may be, 200 characters.
func name(parts ...string) string {
	s := strings.Join(parts, "_")
	if len(s) <= 200 {
		return s
	}
	return "tollgate_" + digest(s)
}

// digest stands for a text where only short names in ASCII may be.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}
