package signer

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/handfast/handfast/pkg/signature"
)

// Config is what an operator chooses.
type Config struct {
	// Concurrency is how many events and retries are worked on at a time. Default 256, at least 4.
	Concurrency int
	// FetchWait lets a pull stay with the broker for longer than 30 s, and buckets go unasked for as long, which only
	// virtual time has a use for.
	FetchWait time.Duration
	// TendInterval is how often endpoints that wait are looked for, in case a wake-up was lost. Default 1 min.
	TendInterval time.Duration
	// Vault opens the signing keys.
	Vault signature.Vault
	// Custody signs for keys that stay in tokens; without it they sign nothing.
	Custody signature.Custody
}

// minConcurrency lets each of two pulls reserve one, while as many are worked on.
const minConcurrency = 4

func (c Config) fill() Config {
	if c.Concurrency <= 0 {
		c.Concurrency = 256
	}
	c.Concurrency = max(c.Concurrency, minConcurrency)
	if c.TendInterval <= 0 {
		c.TendInterval = time.Minute
	}
	return c
}

// Dependencies are what the process around it provides. All are required.
type Dependencies struct {
	NATS           *nats.Conn
	Logger         *slog.Logger
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
}

func (d Dependencies) check() error {
	var missing []error
	for name, absent := range map[string]bool{
		"NATS": d.NATS == nil, "Logger": d.Logger == nil, "TracerProvider": d.TracerProvider == nil, "MeterProvider": d.MeterProvider == nil,
	} {
		if absent {
			missing = append(missing, fmt.Errorf("signer: Dependencies.%s is missing", name))
		}
	}
	return errors.Join(missing...)
}
