package main

import (
	"context"
	"fmt"
	"time"
)

// report is what is printed.
type report struct {
	Raw      cost         `json:"raw"`
	Pipeline pipelineCost `json:"pipeline"`
	// Ratio is the pipeline's throughput divided by the raw loop's, the median of the rounds.
	Ratio     float64       `json:"ratio"`
	Rotation  rotationCost  `json:"rotation"`
	Handshake handshakeCost `json:"handshake"`
}

type cost struct {
	PerSecond float64 `json:"per_second"`
	CPU       float64 `json:"cpu_us"`
}

type pipelineCost struct {
	cost

	P50         float64 `json:"p50_ms"`
	P99         float64 `json:"p99_ms"`
	Handshakes  int64   `json:"handshakes"`
	ReusedShare float64 `json:"reused_share"`
	// PerThousand is how many of the handshakes a thousand deliveries need.
	PerThousand float64 `json:"handshakes_per_thousand"`
}

// rotationCost is what is left of the usual while a rotation runs: 1 is all of it, and less is worse, in both figures.
type rotationCost struct {
	Throughput float64 `json:"throughput"`
	// P99 is the usual latency divided by the one during a rotation.
	P99 float64 `json:"p99"`
	// Seconds is how long a rotation under full load took until every endpoint had cut over, and Handshakes how many there
	// were meanwhile: what the difference is made of.
	Seconds    float64 `json:"seconds"`
	Handshakes float64 `json:"handshakes"`
}

// rounds alternates the raw loop with the pipeline.
func (m *report) rounds(ctx context.Context, s settings, r *raw, p *pipeline) error {
	var sides [2][]cost
	var ratios []float64
	var carried, opened int64
	workers, err := r.best(ctx, s.deliveries)
	if err != nil {
		return fmt.Errorf("raw: %w", err)
	}
	for range s.rounds {
		straight, err := timed(s.deliveries, func() error { return r.run(ctx, s.deliveries, workers) })
		if err != nil {
			return fmt.Errorf("raw: %w", err)
		}
		before := p.fleet.count()
		whole, err := timed(s.deliveries, func() error { return p.burst(ctx, s.deliveries) })
		if err != nil {
			return fmt.Errorf("pipeline: %w", err)
		}
		after := p.fleet.count()
		carried, opened = carried+after.requests-before.requests, opened+after.handshakes-before.handshakes
		sides[0], sides[1] = append(sides[0], straight), append(sides[1], whole)
		ratios = append(ratios, whole.PerSecond/straight.PerSecond)
	}
	m.Raw, m.Ratio = middle(sides[0]), round(percentile(ratios, 0.5), 3)
	share := float64(opened) / float64(carried)
	m.Pipeline = pipelineCost{cost: middle(sides[1]), Handshakes: opened, ReusedShare: round(1-share, 5), PerThousand: round(1000*share, 2)}
	return nil
}

// more is how many rotations more the latency needs than the throughput: one pause of the machine decides its p99.
const more = 1

// rotations makes the rotations, first under full load and then at the rate, whose quiet windows also give the latency.
func (m *report) rotations(ctx context.Context, s settings, p *pipeline) error {
	total := time.Duration(s.seconds * float64(time.Second))
	w, all, err := p.alternate(ctx, 0, s.rotations, total/2/time.Duration(s.rotations+1))
	if err != nil {
		return fmt.Errorf("rotation under full load: %w", err)
	}
	if m.Rotation.Throughput, err = w.ratio(func(s ...span) float64 { return throughput(all, s...) }); err != nil {
		return fmt.Errorf("throughput: %w", err)
	}
	m.Rotation.Seconds, m.Rotation.Handshakes = round(percentile(w.seconds(), 0.5), 2), percentile(w.handshakes, 0.5)
	if w, all, err = p.alternate(ctx, s.rate, s.rotations+more, total/time.Duration(s.rotations+more+1)); err != nil {
		return fmt.Errorf("rotation at a steady rate: %w", err)
	}
	// The inverse, so that longer is less here as well.
	if m.Rotation.P99, err = w.ratio(func(s ...span) float64 { return 1 / percentile(latencies(all, s...), 0.99) }); err != nil {
		return fmt.Errorf("latency: %w", err)
	}
	usual := latencies(all, w.quiet...)
	m.Pipeline.P50, m.Pipeline.P99 = round(percentile(usual, 0.50), 3), round(percentile(usual, 0.99), 3)
	return nil
}
