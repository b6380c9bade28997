package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/telemetry"
	"github.com/handfast/handfast/services/handfast/configuration"
	"github.com/handfast/handfast/services/handfast/connection"
	"github.com/handfast/handfast/services/handfast/process"
)

// serviceFlags are what every service has.
type serviceFlags struct {
	connection.Flags

	Config    configuration.File `env:"HANDFAST_CONFIG" help:"YAML file with settings; flags and the environment win over it." placeholder:"FILE"`
	LogFormat string             `default:"text" env:"HANDFAST_LOG_FORMAT" help:"How log records are written to standard error: text or json." placeholder:"FORMAT"`
	LogLevel  string             `default:"info" env:"HANDFAST_LOG_LEVEL" help:"The least level that is logged: debug, info, warn or error." placeholder:"LEVEL"`
}

// problems are those of the flags that every service has, and of its HTTP address.
func (f *serviceFlags) problems(name, address string) []error {
	all := f.Problems()
	if err := new(telemetry.Format).UnmarshalText([]byte(f.LogFormat)); err != nil {
		all = append(all, fmt.Errorf("--log-format: %w", err))
	}
	if err := new(slog.Level).UnmarshalText([]byte(f.LogLevel)); err != nil {
		all = append(all, fmt.Errorf("--log-level: %q is unknown; use debug, info, warn or error", f.LogLevel))
	}
	if err := checkAddress(address); err != nil {
		all = append(all, fmt.Errorf("--http: %w", err))
	}
	return append(all, telemetryProblems(name)...)
}

// checkAddress wants host:port, or nothing, which switches the port off.
func checkAddress(address string) error {
	if address == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("%q is not HOST:PORT, for example 127.0.0.1:9464", address)
	}
	if _, err := net.ResolveTCPAddr("tcp", address); err != nil {
		return fmt.Errorf("%q cannot be listened on: %w", address, err)
	}
	return nil
}

// telemetryProblems tries the OpenTelemetry variables, which their own package reads.
func telemetryProblems(name string) []error {
	ctx := context.Background()
	t, err := telemetry.Start(ctx, telemetry.Config{Service: name}, slog.New(slog.DiscardHandler))
	if err == nil {
		_ = t.Shutdown(ctx) // it has measured nothing
		return nil
	}
	_, list, found := strings.Cut(err.Error(), "\n")
	if !found {
		return []error{err}
	}
	return []error{errors.New(list)}
}

func (f *serviceFlags) logger(s streams) *slog.Logger {
	level := slog.LevelInfo
	_ = level.UnmarshalText([]byte(f.LogLevel)) // checked before
	return telemetry.NewLogger(s.err, telemetry.Format(f.LogFormat), level)
}

// service is one long-running process around its work.
type service struct {
	name    string // also its NATS user by convention, and the end of its inbox prefix
	flags   *serviceFlags
	address string // of health and metrics
	// drain bounds how long the work may take to end.
	drain time.Duration
	start func(ctx context.Context, e environment) (process.Work, error)
	// parts are what it cannot work without.
	parts stream.Parts
	// routes are shown beside health and metrics.
	routes []process.Route
	// before starts what the work needs that does not come from NATS; nil for nothing.
	before func(e environment) error
}

// environment is what a service gets from the process.
type environment struct {
	nats      *nats.Conn
	telemetry *telemetry.Telemetry
	logger    *slog.Logger
	lifecycle *process.Lifecycle
}

// stopping is what the parts around the work may take to end, on top of the work's own bound.
const stopping = 10 * time.Second

// run works until ctx ends, drains, and returns. It returns an error when it cannot start, which NATS being away is not.
func (s service) run(ctx context.Context, out streams) (err error) {
	e := environment{logger: s.flags.logger(out), lifecycle: new(process.Lifecycle)}
	defer func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.drain+stopping)
		defer cancel()
		if stop := e.lifecycle.Stop(ending); stop != nil {
			err = errors.Join(err, fmt.Errorf("%s did not end cleanly; what it had not finished is done by another one: %w", s.name, stop))
		}
	}()
	e.telemetry, err = telemetry.Start(ctx, telemetry.Config{Service: "handfast-" + s.name, Version: readBuild().version}, e.logger)
	if err != nil {
		return err //nolint:wrapcheck // says what and where already
	}
	e.lifecycle.Started("telemetry", e.telemetry.Shutdown)
	if e.nats, err = s.flags.Connect(s.name, e.logger); err != nil {
		return err //nolint:wrapcheck // says what and where already
	}
	e.lifecycle.Started("NATS", func(ctx context.Context) error { return hangUp(ctx, e.nats) })
	if s.before != nil {
		if err := s.before(e); err != nil {
			return err
		}
	}
	keeper, err := s.keeper(e)
	if err != nil {
		return err
	}
	address, err := process.Serve(ctx, e.lifecycle, s.address, process.Handler(keeper.Ready, e.telemetry.Metrics(), s.routes...), e.logger)
	if err != nil {
		return err //nolint:wrapcheck // says what and what to do
	}
	e.logger.InfoContext(ctx, "starting", slog.String("service", s.name), slog.String("version", readBuild().version),
		slog.String("servers", s.flags.Name()), slog.String("http", address))
	ended := e.lifecycle.Run(s.name, keeper.Run)
	select {
	case <-ctx.Done():
		e.logger.InfoContext(context.WithoutCancel(ctx), "asked to stop; finishing what has begun", slog.Duration("at_most", s.drain+stopping))
	case <-ended:
	}
	return nil
}

func (s service) keeper(e environment) (*process.Keeper, error) {
	js, err := jetstream.New(e.nats)
	if err != nil {
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	var made time.Time
	return &process.Keeper{
		NATS: e.nats, Servers: s.flags.Name(), Logger: e.logger,
		Start: func(ctx context.Context) (process.Work, error) {
			var err error
			if made, err = deliveriesMade(ctx, js); err != nil {
				return nil, err
			}
			return s.start(ctx, e)
		},
		Probe: func(ctx context.Context) error {
			now, err := deliveriesMade(ctx, js)
			switch {
			case errors.Is(err, stream.ErrNoTopology):
				return err
			case err == nil && !now.Equal(made):
				return fmt.Errorf("stream %s has been made anew", stream.Deliveries)
			}
			return nil // a server that is busy is no reason to stop
		},
		Trouble: func(ctx context.Context) error { return s.parts.Missing(ctx, js) },
	}, nil
}

// deliveriesMade is when the stream was made that stands for the topology.
func deliveriesMade(ctx context.Context, js jetstream.JetStream) (time.Time, error) {
	deliveries, err := js.Stream(ctx, stream.Deliveries)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return time.Time{}, stream.ErrNoTopology
	}
	if errors.Is(err, nats.ErrNoResponders) {
		return time.Time{}, stream.ErrNoJetStream
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("look up stream %s: %w", stream.Deliveries, err)
	}
	return deliveries.CachedInfo().Created, nil
}

// hangUp sends what is still in the buffer, the last acknowledgements perhaps, and closes.
func hangUp(ctx context.Context, nc *nats.Conn) error {
	defer nc.Close()
	if !nc.IsConnected() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("send the last acknowledgements: %w", err)
	}
	return nil
}
