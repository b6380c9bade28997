package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/receipt"
)

// record is one delivery as the demo reports it: what its last receipt says, and whether its receiver could verify it.
type record struct {
	Type     string      `json:"type"`
	Delivery delivery.ID `json:"delivery"`
	Tenant   string      `json:"tenant"`
	Endpoint string      `json:"endpoint"`
	// Attempt is the number of the last attempt.
	Attempt int              `json:"attempt"`
	Outcome delivery.Outcome `json:"outcome"`
	Origin  delivery.Origin  `json:"origin"`
	Status  int              `json:"status,omitempty"`
	TLS     string           `json:"tls,omitempty"`
	// Client and Server are the identities of both sides, as far as the handshake showed them.
	Client     string     `json:"client,omitempty"`
	Server     string     `json:"server,omitempty"`
	Connection string     `json:"connection"`
	Verified   bool       `json:"signature_verified"`
	LatencyMS  float64    `json:"latency_ms"`
	Detail     string     `json:"detail,omitempty"`
	Advice     string     `json:"advice,omitempty"`
	Next       *time.Time `json:"next,omitempty"`
	Trace      string     `json:"trace,omitempty"`
}

func newRecord(r receipt.Receipt, verified bool) record {
	rec := record{
		Type: r.Event.Type, Delivery: r.Delivery, Tenant: r.Tenant, Endpoint: r.Endpoint, Attempt: r.Attempt,
		Outcome: r.Outcome, Origin: r.Origin, Status: r.Status, Connection: "none", Verified: verified,
		LatencyMS: milliseconds(r.At.Add(r.Duration).Sub(r.First)), Detail: r.Detail, Advice: r.Advice, Next: r.Next, Trace: r.Trace,
	}
	if r.Proof != nil {
		rec.Connection = "new"
		if r.Reused {
			rec.Connection = "reused"
		}
		rec.TLS, rec.Client, rec.Server = r.Proof.Version, r.Proof.Client.Name(), r.Proof.Server.Name()
	}
	return rec
}

func milliseconds(d time.Duration) float64 {
	return math.Round(float64(d.Microseconds())) / 1000
}

// line is the record for a person, in one line.
func (r record) line() string {
	signature := "not verified"
	if r.Verified {
		signature = "verified"
	}
	return fmt.Sprintf("%s  %.12s…  attempt %d  %s  %s  connection %-6s  signature %s  %5.1f ms",
		r.Type, r.Delivery, r.Attempt, r.Outcome, r.TLS, r.Connection, signature, r.LatencyMS)
}

// summary counts what the demo has seen.
type summary struct {
	Outcomes            map[string]int `json:"outcomes"`
	DeliveriesPerSecond float64        `json:"deliveries_per_second"`
	LatencyMS           percentiles    `json:"latency_ms"`
	Handshakes          int            `json:"handshakes"`
	ReusedShare         float64        `json:"reused_share"`
}

type percentiles struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

func percentile(sorted []float64, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

// book keeps the receipts of the whole demo.
type book struct {
	last     map[delivery.ID]record
	order    []delivery.ID
	attempts int // that had a connection
	reused   int
	shakes   int
}

func (b *book) note(r receipt.Receipt, verified bool) record {
	rec := newRecord(r, verified)
	if b.last == nil {
		b.last = make(map[delivery.ID]record)
	}
	if _, known := b.last[rec.Delivery]; !known {
		b.order = append(b.order, rec.Delivery)
	}
	b.last[rec.Delivery] = rec
	if r.Proof != nil {
		b.attempts++
		if r.Reused {
			b.reused++
		} else {
			b.shakes++
		}
	}
	return rec
}

// summary takes rate and latency from the first act, the only one that is about speed.
func (b *book) summary(first []record, took time.Duration) summary {
	s := summary{Outcomes: make(map[string]int), Handshakes: b.shakes}
	for _, rec := range b.last {
		s.Outcomes[rec.Outcome.String()]++
	}
	latencies := make([]float64, len(first))
	for i, rec := range first {
		latencies[i] = rec.LatencyMS
	}
	slices.Sort(latencies)
	s.LatencyMS = percentiles{P50: percentile(latencies, 0.50), P99: percentile(latencies, 0.99)}
	if took > 0 {
		s.DeliveriesPerSecond = math.Round(float64(len(first)) / took.Seconds())
	}
	if b.attempts > 0 {
		s.ReusedShare = math.Round(float64(b.reused)/float64(b.attempts)*1000) / 1000
	}
	return s
}

// print writes one JSON object per delivery, then the summary.
func (b *book) print(w io.Writer, s summary) error {
	out := json.NewEncoder(w)
	for _, id := range b.order {
		if err := out.Encode(b.last[id]); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	if err := out.Encode(map[string]summary{"summary": s}); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
