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
	"slices"
	"time"

	"github.com/handfast/handfast/services/handfast/process"
)

// settings are the flags.
type settings struct {
	deliveries, rounds, window, rate int
	seconds                          float64
	rotations, handshakes            int
	probes                           float64
	http2                            bool
	cpuProfile, allocationProfile    string
	mode                             string
	length                           time.Duration
}

// What is measured.
const (
	modeAll     = "all"
	modeSchemes = "schemes"
	modeKeys    = "keys"
)

func parse(arguments []string, help io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(help)
	flags.IntVar(&s.deliveries, "deliveries", 16_000, "deliveries of each side in a round")
	flags.IntVar(&s.rounds, "rounds", 5, "rounds, each with both sides")
	flags.IntVar(&s.window, "window", 4096, "events that may be published and not yet arrived in a throughput round")
	flags.IntVar(&s.rate, "rate", 1000, "events a second while latency is measured")
	flags.Float64Var(&s.seconds, "seconds", 8, "how long latency is measured, beside the rotations")
	flags.IntVar(&s.rotations, "rotations", 2, "rotations under full load; latency takes one more")
	flags.Float64Var(&s.probes, "probes", 10, "endpoints that a rotation tries in a second; the dispatcher's default is 10, too")
	flags.IntVar(&s.handshakes, "handshakes", 600, "connections that the pool and the bare loop open each, one by one, and as many again four at a time")
	flags.BoolVar(&s.http2, "http2", false, "let the receivers offer HTTP/2; without it they speak HTTP/1.1")
	flags.StringVar(&s.mode, "mode", modeAll, "what to measure: all, or only schemes (what each costs to sign) or keys (rotated every second under full load)")
	flags.DurationVar(&s.length, "for", time.Minute, "how long signing keys are rotated in mode keys")
	flags.StringVar(&s.cpuProfile, "cpuprofile", "", "write a CPU profile of one more pipeline round, rounds times as long, to this `file`")
	flags.StringVar(&s.allocationProfile, "allocprofile", "", "write the allocations up to the end of that round to this `file`")
	if err := flags.Parse(arguments); err != nil {
		return s, err
	}
	var problems []error
	for name, n := range map[string]int{
		"deliveries": s.deliveries, "rounds": s.rounds, "window": s.window, "rate": s.rate, "rotations": s.rotations, "handshakes": s.handshakes,
	} {
		if n < 1 {
			problems = append(problems, fmt.Errorf("--%s %d: give at least 1", name, n))
		}
	}
	for name, n := range map[string]float64{"seconds": s.seconds, "probes": s.probes} {
		if !(n > 0) { // the comparison fails for NaN, too
			problems = append(problems, fmt.Errorf("--%s %g: give more than 0", name, n))
		}
	}
	if !slices.Contains([]string{modeAll, modeSchemes, modeKeys}, s.mode) {
		problems = append(problems, fmt.Errorf("--mode %s: give %s, %s or %s", s.mode, modeAll, modeSchemes, modeKeys))
	}
	if s.length < keyPace {
		problems = append(problems, fmt.Errorf("--for %s: give at least %s", s.length, keyPace))
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
		err = measure(ctx, s, os.Stdout, logger)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called
	}
}

// measure measures what the mode says.
func measure(ctx context.Context, s settings, out io.Writer, logger *slog.Logger) error {
	switch s.mode {
	case modeSchemes:
		return runSchemes(ctx, s, out, logger)
	case modeKeys:
		return runKeys(ctx, s, out, logger)
	}
	return run(ctx, s, out, logger)
}

func run(ctx context.Context, s settings, out io.Writer, logger *slog.Logger) (err error) {
	dir, err := os.MkdirTemp("", "handfast-bench-")
	if err != nil {
		return fmt.Errorf("make a temporary directory: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	handshake, err := measureHandshakes(ctx, s.handshakes, logger)
	if err != nil {
		return fmt.Errorf("handshakes: %w", err)
	}
	fleet, err := openFleet(s.http2, false)
	if err != nil {
		return err
	}
	defer fleet.close()
	r := newRaw(fleet)
	defer r.close()
	p, err := startPipeline(ctx, dir, fleet, s, usual(), logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop(context.WithoutCancel(ctx))) }()
	measured := report{Handshake: handshake}
	if err := measured.rounds(ctx, s, r, p); err != nil {
		return err
	}
	if err := measured.rotations(ctx, s, p); err != nil {
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
