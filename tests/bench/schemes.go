package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/signature"
)

// schemeReport is what mode schemes prints.
type schemeReport struct {
	// Signing is what one signature of a request of 1 KiB costs, by scheme.
	Signing map[string]signingCost `json:"signing"`
	// Pipeline is what a delivery costs, by the schemes that sign it side by side.
	Pipeline map[string]schemeCost `json:"pipeline"`
}

type signingCost struct {
	Nanoseconds float64 `json:"ns"`
	Bytes       float64 `json:"bytes"`
	Allocations float64 `json:"allocs"`
}

type schemeCost struct {
	cost

	// Ratio is the throughput divided by the raw loop's, the median of the rounds.
	Ratio float64 `json:"ratio"`
	// OfFirst and CPUOfFirst are throughput and CPU time divided by those of the first set of the same round.
	OfFirst    float64 `json:"of_v1"`
	CPUOfFirst float64 `json:"cpu_of_v1"`
}

// sets are the groups that are compared: one, two and four schemes.
func sets() []group {
	two := signature.Standard()
	return append(usual(), group{tenant: tenant + "-2", schemes: two},
		group{tenant: tenant + "-4", schemes: append(signature.Standard(), signature.HTTPEd25519, signature.Stripe)})
}

func runSchemes(ctx context.Context, s settings, out io.Writer, logger *slog.Logger) (err error) {
	var measured schemeReport
	if measured.Signing, err = signingCosts(); err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	dir, err := os.MkdirTemp("", "handfast-bench-")
	if err != nil {
		return fmt.Errorf("make a temporary directory: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	fleet, err := openFleet(s.http2, false)
	if err != nil {
		return err
	}
	defer fleet.close()
	r := newRaw(fleet)
	defer r.close()
	p, err := startPipeline(ctx, dir, fleet, s, sets(), logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop(context.WithoutCancel(ctx))) }()
	if measured.Pipeline, err = compareSchemes(ctx, s, r, p); err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(measured); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	return nil
}

// compareSchemes alternates the raw loop with the pipeline under every set of schemes.
func compareSchemes(ctx context.Context, s settings, r *raw, p *pipeline) (map[string]schemeCost, error) {
	workers, err := r.best(ctx, s.deliveries)
	if err != nil {
		return nil, fmt.Errorf("raw: %w", err)
	}
	costs := make([][]cost, len(p.groups)+1) // the last one is the raw loop's
	for i := range p.groups {                // connections, and keys that are read for the first time
		p.load.tenant = p.groups[i].tenant
		if err := p.burst(ctx, max(s.deliveries/4, 1)); err != nil {
			return nil, fmt.Errorf("pipeline: %w", err)
		}
	}
	for n := range (s.rounds + len(costs) - 1) / len(costs) * len(costs) {
		for _, i := range order(len(costs), n) {
			work := func() error { return r.run(ctx, s.deliveries, workers) }
			if i < len(p.groups) {
				p.load.tenant = p.groups[i].tenant
				work = func() error { return p.burst(ctx, s.deliveries) }
			}
			c, err := timed(s.deliveries, work)
			if err != nil {
				return nil, fmt.Errorf("round %d: %w", n+1, err)
			}
			costs[i] = append(costs[i], c)
		}
	}
	all := make(map[string]schemeCost, len(p.groups))
	for i, g := range p.groups {
		all[strings.Join(g.schemes, "+")] = schemeCost{
			cost: middle(costs[i]), Ratio: relation(costs[i], costs[len(p.groups)], speed), OfFirst: relation(costs[i], costs[0], speed), CPUOfFirst: relation(costs[i], costs[0], effort),
		}
	}
	return all, nil
}

// order is that of a round of n things, an even number: within n rounds each comes in each place, and after each other one,
// equally often. What one leaves behind for the next one (work of the broker, garbage) would decide a comparison otherwise.
func order(n, round int) []int {
	all := make([]int, n)
	for place := range all {
		offset := (place + 1) / 2
		if place%2 == 0 {
			offset = n - place/2
		}
		all[place] = (round + offset) % n
	}
	return all
}

func speed(c cost) float64  { return c.PerSecond }
func effort(c cost) float64 { return c.CPU }

// relation is the median of the rounds' own ratios.
func relation(of, to []cost, figure func(cost) float64) float64 {
	ratios := make([]float64, len(of))
	for i := range of {
		ratios[i] = figure(of[i]) / figure(to[i])
	}
	return round(percentile(ratios, 0.5), 3)
}

// signings is how often each scheme signs, after some times that do not count.
const signings = 4000

func signingCosts() (map[string]signingCost, error) {
	l, err := newLoad()
	if err != nil {
		return nil, err
	}
	body, err := l.body(0)
	if err != nil {
		return nil, err
	}
	how := signature.Signer{Template: signature.Template{Header: "X-Bench-Signature", Content: "{id}.{timestamp}.{body}"}}
	all := make(map[string]signingCost)
	for _, scheme := range signature.Schemes() {
		key, err := signature.GenerateKey(scheme, time.Now(), rand.Reader)
		if err != nil {
			return nil, err
		}
		key.State = signature.Active
		ring, err := signature.NewRing(key)
		if err != nil {
			return nil, err
		}
		schemes := []string{scheme}
		sign := func(n int) error {
			r := signature.Request{
				ID: "msg_" + strconv.Itoa(n), Time: time.Now(), Method: http.MethodPost, URL: "https://hooks.example.com/in?tenant=a",
				Header: http.Header{"Content-Type": {"application/cloudevents+json"}}, Body: body,
			}
			query, err := signature.Query(r, schemes)
			if err != nil {
				return err
			}
			r.URL = signature.Extend(r.URL, query)
			_, _, err = how.Sign(r, schemes, ring)
			return err
		}
		if all[scheme], err = repeated(sign); err != nil {
			return nil, fmt.Errorf("scheme %s: %w", scheme, err)
		}
	}
	return all, nil
}

// repeated measures something that is done again and again by one goroutine.
func repeated(do func(n int) error) (signingCost, error) {
	for n := range signings / 10 {
		if err := do(n); err != nil {
			return signingCost{}, err
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	for n := range signings {
		if err := do(n); err != nil {
			return signingCost{}, err
		}
	}
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	return signingCost{
		Nanoseconds: round(float64(took.Nanoseconds())/signings, 0),
		Bytes:       round(float64(after.TotalAlloc-before.TotalAlloc)/signings, 0),
		Allocations: round(float64(after.Mallocs-before.Mallocs)/signings, 1),
	}, nil
}
