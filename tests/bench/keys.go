package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/services/signer"
)

const (
	// keyPace is the time from one rotation of a key to the next.
	keyPace = time.Second
	// keyOverlap is for how long a key that retires still signs.
	keyOverlap = 4 * time.Second
	// lag is for how long after a rotation a request may still be signed without the new key: a signer may learn of it a
	// second later than others, and a request tells in whole seconds when it was signed.
	lag = 2 * time.Second
	// resolution is that of the time in a request.
	resolution = time.Second
	// locksmiths is how many endpoints' keys are changed at a time.
	locksmiths = 8
)

// keyReport is what mode keys prints.
type keyReport struct {
	// Seconds is how long keys were rotated, and Rotations how many keys retired in that time.
	Seconds   float64 `json:"seconds"`
	Rotations int     `json:"rotations"`
	// Slowest is the longest time between two rotations of one key.
	Slowest float64 `json:"slowest_pace_seconds"`
	// Deliveries came while keys were rotated and until the last old one had ended. Verified counts the signatures that
	// receivers accepted, by what they know, and Refused the requests in which one of them accepted none.
	Deliveries int            `json:"deliveries"`
	Verified   map[string]int `json:"verified"`
	Refused    int            `json:"refused"`
	// Repeated are attempts more than deliveries.
	Repeated int `json:"repeated"`
	// Signatures is the most that one request carried of one scheme.
	Signatures int `json:"signatures"`
	// PerSecond is the throughput while keys were rotated, and Quiet that before.
	PerSecond float64 `json:"per_second"`
	Quiet     float64 `json:"quiet_per_second"`
}

// keyed are the endpoints whose keys are rotated: both versions of Standard Webhooks sign.
func keyed() []group { return []group{{tenant: tenant, schemes: signature.Standard()}} }

func runKeys(ctx context.Context, s settings, out io.Writer, logger *slog.Logger) (err error) {
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
	s.window = min(s.window, keyWindow) // what waits in queues for long would be signed again
	p, err := startPipeline(ctx, dir, fleet, s, keyed(), logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop(context.WithoutCancel(ctx))) }()
	measured, err := p.rotateKeys(ctx, s.length)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(map[string]keyReport{"keys": measured}); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	return nil
}

// keyWindow is how many deliveries may be under way.
const keyWindow = 512

// errRefused is that a receiver found no signature that it could verify.
var errRefused = errors.New("signatures were refused while keys were rotated")

// rotateKeys rotates every key of every endpoint each second, under full load, and tells what the receivers made of it.
func (p *pipeline) rotateKeys(ctx context.Context, length time.Duration) (keyReport, error) {
	topology, err := stream.LoadTopology(ctx, p.js)
	if err != nil {
		return keyReport{}, err
	}
	keyring, err := signer.OpenKeyring(ctx, p.js, topology, p.vault, p.logger)
	if err != nil {
		return keyReport{}, err
	}
	class := newClass()
	rotator := &rotator{keyring: keyring, class: class}
	if err := rotator.each(ctx, rotator.begin); err != nil {
		return keyReport{}, fmt.Errorf("first keys: %w", err)
	}
	p.fleet.judgeBy(class.accepts)
	f, ctx, err := p.open(ctx, 0)
	if err != nil {
		return keyReport{}, err
	}
	defer f.cancel(nil)
	quiet, turning, err := rotator.run(ctx, f, length)
	if err != nil {
		f.fail(err)
	}
	all, err := f.stop(ctx)
	if err != nil {
		return keyReport{}, err
	}
	report := class.report()
	for _, e := range all {
		if e.arrived >= turning.from {
			report.Deliveries++
		}
	}
	stored, err := p.receipts(context.WithoutCancel(ctx))
	if err != nil {
		return keyReport{}, err
	}
	report.Repeated = int(stored-f.before) - (p.next - f.first)
	report.Seconds, report.Rotations = round((turning.to-turning.from).Seconds(), 1), rotator.rotations
	report.Slowest = round(rotator.slowest.Seconds(), 2)
	report.PerSecond, report.Quiet = round(throughput(all, turning), 0), round(throughput(all, quiet), 0)
	if report.Refused > 0 {
		return report, fmt.Errorf("%w: %d of %d requests, such as %w", errRefused, report.Refused, len(all), class.first)
	}
	return report, nil
}

// rotator changes keys.
type rotator struct {
	keyring *signer.Keyring
	class   *class

	mu        sync.Mutex
	rotations int
	latest    [endpoints]time.Time
	slowest   time.Duration
}

// run rotates for so long, after a quiet window, and lets the load go on until the last old key has ended.
func (r *rotator) run(ctx context.Context, f *flow, length time.Duration) (quiet, turning span, err error) {
	if _, err := f.pause(ctx, 2*calm); err != nil {
		return quiet, turning, err
	}
	if quiet, err = f.pause(ctx, min(length/4, 5*time.Second)); err != nil {
		return quiet, turning, err
	}
	turning.from = time.Since(f.began)
	for i := 0; time.Since(f.began) < turning.from+length; i++ {
		if err := r.each(ctx, r.turn); err != nil {
			return quiet, turning, fmt.Errorf("rotation %d: %w", i+1, err)
		}
		if _, err := f.pause(ctx, max(0, turning.from+time.Duration(i+1)*keyPace-time.Since(f.began))); err != nil {
			return quiet, turning, err
		}
	}
	turning.to = time.Since(f.began)
	_, err = f.pause(ctx, keyOverlap+calm)
	return quiet, turning, err
}

// each does something with every endpoint, several at a time.
func (r *rotator) each(ctx context.Context, do func(ctx context.Context, n int) error) error {
	var group sync.WaitGroup
	problems := make([]error, locksmiths)
	for worker := range locksmiths {
		group.Go(func() {
			for n := worker; n < endpoints && problems[worker] == nil; n += locksmiths {
				problems[worker] = do(ctx, n)
			}
		})
	}
	group.Wait()
	return errors.Join(problems...)
}

// begin makes the first key of each scheme, and publishes the next one.
func (r *rotator) begin(ctx context.Context, n int) error {
	key := endpoint.Key{Tenant: tenant, Name: hook(n)}
	ring, err := r.keyring.Ring(ctx, key, signature.Standard())
	if err != nil {
		return err
	}
	for _, k := range ring.Keys() {
		r.class.pupils[n].meet(k, true)
	}
	return r.change(ctx, n, func(ring signature.Ring, _ string, next signature.Key, now time.Time) (signature.Ring, error) {
		return ring.Add(next, now)
	})
}

// turn makes each next key the active one, and publishes another one.
func (r *rotator) turn(ctx context.Context, n int) error {
	err := r.change(ctx, n, func(ring signature.Ring, scheme string, next signature.Key, now time.Time) (signature.Ring, error) {
		ring, _, err := ring.Rotate(scheme, "", signature.Key{}, now, keyOverlap)
		if err != nil {
			return ring, err
		}
		return ring.Add(next, now)
	})
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if last := r.latest[n]; !last.IsZero() {
		r.slowest = max(r.slowest, now.Sub(last))
	}
	r.latest[n] = now
	r.rotations += len(signature.Standard())
	return err
}

// change changes the keys of both schemes at once, and then tells the receiver what it is to know.
func (r *rotator) change(ctx context.Context, n int, how func(ring signature.Ring, scheme string, next signature.Key, now time.Time) (signature.Ring, error)) error {
	ring, err := r.keyring.Change(ctx, endpoint.Key{Tenant: tenant, Name: hook(n)}, func(ring signature.Ring) (signature.Ring, error) {
		for _, scheme := range signature.Standard() {
			next, err := signer.NewKey(scheme)
			if err != nil {
				return ring, err
			}
			if ring, err = how(ring, scheme, next, time.Now().UTC()); err != nil {
				return ring, err
			}
		}
		return ring, nil
	})
	if err != nil {
		return err
	}
	for _, k := range ring.Keys() {
		r.class.pupils[n].meet(k, false)
	}
	return nil
}
