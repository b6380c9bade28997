package dispatcher

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/seal"
	"github.com/handfast/handfast/pkg/stream"
)

// Config is what an operator chooses.
type Config struct {
	// ID names this dispatcher among the others, and is a NATS subject token. Required, unique.
	ID string
	// Slots is how many messages are held at a time. Default 4096, at least 512.
	Slots int
	// Bytes bounds the request bodies that are held at a time, beyond those that are just being sent. Default 256 MiB.
	Bytes int64
	// Freshness is how old a signature may be when it is sent. Default 2 min.
	Freshness time.Duration
	// LeaseTTL is how long the others count this dispatcher in after its last sign of life. Default 10 s.
	LeaseTTL time.Duration
	// SweepInterval is how often stuck schedules are looked for. Default 1 min.
	SweepInterval time.Duration
	// FetchWait lets a pull stay with the broker for longer than 30 s, and buckets go unasked for as long, which only
	// virtual time has a use for.
	FetchWait time.Duration
	// TendInterval is how often certificates are looked at for renewal and alerts. Default 1 min.
	TendInterval time.Duration
	// Deployment names all of Handfast that works on one NATS account, in the source of its alerts. Default "handfast".
	Deployment string
	// ProbeRate is how many endpoints a rotation tries in a second. Default 10.
	ProbeRate float64
	// DrainTimeout bounds how long a stopping dispatcher waits for answers. Default 30 s.
	DrainTimeout time.Duration
	// Connections are the bounds of the connection pool and the address policy. Its providers are filled in.
	Connections mtls.Options
}

// minSlots lets every partition's pull reserve one slot while as many are worked on.
const minSlots = 2 * stream.MaxPartitions

func (c Config) fill() Config {
	number := func(n *int, fallback int) {
		if *n <= 0 {
			*n = fallback
		}
	}
	duration := func(d *time.Duration, fallback time.Duration) {
		if *d <= 0 {
			*d = fallback
		}
	}
	number(&c.Slots, 4096)
	c.Slots = max(c.Slots, minSlots)
	if c.Bytes <= 0 {
		c.Bytes = 256 << 20
	}
	if c.ProbeRate <= 0 {
		c.ProbeRate = 10 // a handshake costs as much as twenty deliveries, on both sides
	}
	if c.Deployment == "" {
		c.Deployment = "handfast"
	}
	duration(&c.Freshness, 2*time.Minute)
	duration(&c.LeaseTTL, 10*time.Second)
	duration(&c.SweepInterval, time.Minute)
	duration(&c.TendInterval, time.Minute)
	duration(&c.DrainTimeout, 30*time.Second)
	return c
}

// Dependencies are what the process around it provides. All are required, but for one of Identities and Vault.
type Dependencies struct {
	NATS *nats.Conn
	// Identities are client certificates of this process, by the name that endpoints use. They win over stored ones.
	Identities map[string]mtls.Source
	// Vault opens the stored identities and the keys of our own authorities. The zero value opens none.
	Vault          seal.Vault
	Logger         *slog.Logger
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
}

var token = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func check(c Config, d Dependencies) error {
	var problems []error
	if !token.MatchString(c.ID) {
		problems = append(problems, fmt.Errorf("dispatcher: id %q must be 1 to 64 letters, digits, '-' or '_'", c.ID))
	}
	for name, absent := range map[string]bool{
		"NATS": d.NATS == nil, "Logger": d.Logger == nil, "TracerProvider": d.TracerProvider == nil,
		"MeterProvider": d.MeterProvider == nil,
	} {
		if absent {
			problems = append(problems, fmt.Errorf("dispatcher: Dependencies.%s is missing", name))
		}
	}
	return errors.Join(problems...)
}
