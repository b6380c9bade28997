package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"

	"github.com/handfast/handfast/services/handfast/process"
)

// settings are the flags.
type settings struct {
	deliveries, rounds, window, rate int
	seconds                          float64
	http2                            bool
	cpuProfile, allocationProfile    string
}

func parse(arguments []string, help io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(help)
	flags.IntVar(&s.deliveries, "deliveries", 16_000, "deliveries of each side in a round")
	flags.IntVar(&s.rounds, "rounds", 5, "rounds, each with both sides")
	flags.IntVar(&s.window, "window", 4096, "events that may be published and not yet arrived in a throughput round")
	flags.IntVar(&s.rate, "rate", 1000, "events a second while latency is measured")
	flags.Float64Var(&s.seconds, "seconds", 8, "how long latency is measured")
	flags.BoolVar(&s.http2, "http2", false, "let the receivers offer HTTP/2; without it they speak HTTP/1.1")
	flags.StringVar(&s.cpuProfile, "cpuprofile", "", "write a CPU profile of one more pipeline round, rounds times as long, to this `file`")
	flags.StringVar(&s.allocationProfile, "allocprofile", "", "write the allocations up to the end of that round to this `file`")
	if err := flags.Parse(arguments); err != nil {
		return s, err
	}
	var problems []error
	for name, n := range map[string]int{"deliveries": s.deliveries, "rounds": s.rounds, "window": s.window, "rate": s.rate} {
		if n < 1 {
			problems = append(problems, fmt.Errorf("--%s %d: give at least 1", name, n))
		}
	}
	if !(s.seconds > 0) { // the comparison fails for NaN, too
		problems = append(problems, fmt.Errorf("--seconds %g: give more than 0", s.seconds))
	}
	if flags.NArg() > 0 {
		problems = append(problems, fmt.Errorf("unexpected argument %q", flags.Arg(0)))
	}
	return s, errors.Join(problems...)
}

func main() {
	process.TuneMemory() // as every handfast process does; both sides of the comparison run under it
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err == nil:
		logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
		err = run(ctx, s, os.Stdout, logger)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called
	}
}

// report is what is printed.
type report struct {
	Raw      cost         `json:"raw"`
	Pipeline pipelineCost `json:"pipeline"`
	// Ratio is the pipeline's throughput divided by the raw loop's, the median of the rounds.
	Ratio float64 `json:"ratio"`
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
}

func run(ctx context.Context, s settings, out io.Writer, logger *slog.Logger) (err error) {
	dir, err := os.MkdirTemp("", "handfast-bench-")
	if err != nil {
		return fmt.Errorf("make a temporary directory: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	fleet, err := openFleet(s.http2)
	if err != nil {
		return err
	}
	defer fleet.close()
	r := newRaw(fleet)
	defer r.close()
	p, err := startPipeline(ctx, dir, fleet, s.window, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop(context.WithoutCancel(ctx))) }()
	measured, err := measure(ctx, s, r, p, fleet)
	if err != nil {
		return err
	}
	if s.cpuProfile != "" || s.allocationProfile != "" {
		if err := profile(ctx, s, p); err != nil {
			return err
		}
	}
	if err := json.NewEncoder(out).Encode(measured); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	return nil
}

// measure makes all rounds and then the steady run.
func measure(ctx context.Context, s settings, r *raw, p *pipeline, f *fleet) (report, error) {
	var sides [2][]cost
	var ratios []float64
	var carried, opened int64
	workers, err := r.best(ctx, s.deliveries)
	if err != nil {
		return report{}, fmt.Errorf("raw: %w", err)
	}
	for range s.rounds {
		straight, err := timed(s.deliveries, func() error { return r.run(ctx, s.deliveries, workers) })
		if err != nil {
			return report{}, fmt.Errorf("raw: %w", err)
		}
		before := f.count()
		whole, err := timed(s.deliveries, func() error { return p.burst(ctx, s.deliveries) })
		if err != nil {
			return report{}, fmt.Errorf("pipeline: %w", err)
		}
		after := f.count()
		carried, opened = carried+after.requests-before.requests, opened+after.handshakes-before.handshakes
		sides[0], sides[1] = append(sides[0], straight), append(sides[1], whole)
		ratios = append(ratios, whole.PerSecond/straight.PerSecond)
	}
	latencies, err := p.steady(ctx, s.rate, s.seconds)
	if err != nil {
		return report{}, fmt.Errorf("steady run: %w", err)
	}
	return report{
		Raw: middle(sides[0]),
		Pipeline: pipelineCost{
			cost: middle(sides[1]), P50: round(percentile(latencies, 0.50), 3), P99: round(percentile(latencies, 0.99), 3),
			Handshakes: opened, ReusedShare: round(1-float64(opened)/float64(carried), 5),
		},
		Ratio: round(percentile(ratios, 0.5), 3),
	}, nil
}
