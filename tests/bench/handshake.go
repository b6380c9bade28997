package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/telemetry"
)

const (
	// batch is how many handshakes of one side are measured at a stretch.
	batch = 100
	// together is how many are under way at a time in the second half.
	together = 4
	// oncePath is what both sides post to.
	oncePath = "/once"
)

// opener makes n connections, each with one request on it, so many at a time.
type opener interface {
	open(ctx context.Context, n, workers int) error
}

// comparison is what a connection with one request on it costs either side. The CPU time is that of both ends.
type comparison struct {
	Bare     float64 `json:"bare_us"`
	Pool     float64 `json:"pool_us"`
	Ratio    float64 `json:"ratio"`
	BareCPU  float64 `json:"bare_cpu_us"`
	PoolCPU  float64 `json:"pool_cpu_us"`
	CPURatio float64 `json:"cpu_ratio"`
}

type handshakeCost struct {
	comparison

	// Concurrent is the same with four connections opening at a time; the time is that of all divided by their number.
	Concurrent comparison `json:"concurrent"`
}

// measureHandshakes compares the pool with a bare dial loop. It needs receivers of its own, which speak HTTP/1.1 and
// end every connection after one answer, and runs before anything else works in this process.
func measureHandshakes(ctx context.Context, n int, logger *slog.Logger) (result handshakeCost, err error) {
	f, err := openFleet(false, true)
	if err != nil {
		return result, err
	}
	defer f.close()
	load, err := newLoad()
	if err != nil {
		return result, err
	}
	body, err := load.body(0)
	if err != nil {
		return result, err
	}
	meters, err := telemetry.Start(ctx, telemetry.Config{Service: "handfast-dispatcher"}, logger)
	if err != nil {
		return result, err
	}
	tracers := tracerProvider()
	defer func() {
		ctx := context.WithoutCancel(ctx)
		err = errors.Join(err, tracers.Shutdown(ctx), meters.Shutdown(ctx))
	}()
	pooled, err := newPooled(f, body, mtls.Options{TracerProvider: tracers, MeterProvider: meters.MeterProvider()})
	if err != nil {
		return result, err
	}
	bare := newBare(f, body)
	if result.comparison, err = compare(ctx, f, bare, pooled, n, 1); err != nil {
		return result, err
	}
	result.Concurrent, err = compare(ctx, f, bare, pooled, n, together)
	return result, err
}

// compare alternates batches of both sides and takes the median of their ratios; who comes first alternates, too, since
// each leaves the other its garbage.
func compare(ctx context.Context, f *fleet, bare, pooled opener, n, workers int) (comparison, error) {
	size := min(n, batch)
	var sides [2][]cost
	var wall, cpu []float64
	before := f.count()
	rounds := (n + size - 1) / size
	for i := range rounds + 1 {
		var costs [2]cost
		for j := range costs {
			side := (i + j) % 2
			var err error
			costs[side], err = timed(size, func() error { return [2]opener{bare, pooled}[side].open(ctx, size, workers) })
			if err != nil {
				return comparison{}, fmt.Errorf("%s: %w", [2]string{"bare dial loop", "pool"}[side], err)
			}
		}
		if i == 0 {
			continue // to warm up
		}
		sides[0], sides[1] = append(sides[0], costs[0]), append(sides[1], costs[1])
		wall, cpu = append(wall, costs[0].PerSecond/costs[1].PerSecond), append(cpu, costs[1].CPU/costs[0].CPU)
	}
	if err := onlyFull(before, f.count(), int64(2*size*(rounds+1))); err != nil {
		return comparison{}, err
	}
	straight, through := middle(sides[0]), middle(sides[1])
	return comparison{
		Bare: round(1e6/straight.PerSecond, 1), Pool: round(1e6/through.PerSecond, 1), Ratio: round(percentile(wall, 0.5), 3),
		BareCPU: straight.CPU, PoolCPU: through.CPU, CPURatio: round(percentile(cpu, 0.5), 3),
	}, nil
}

// onlyFull checks with the receivers that there was one full handshake for each request, and none was resumed.
func onlyFull(before, after counts, n int64) error {
	requests, handshakes, resumed := after.requests-before.requests, after.handshakes-before.handshakes, after.resumed-before.resumed
	if requests != n || handshakes != n || resumed != 0 {
		return fmt.Errorf("%d requests should have had a full handshake each: the receivers saw %d requests, %d handshakes and %d of these resumed",
			n, requests, handshakes, resumed)
	}
	return nil
}

// each calls once for the numbers below n, from so many workers.
func each(n, workers int, once func(number int) error) error {
	var next atomic.Int64
	problems := make([]error, workers)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for problems[w] == nil {
				number := int(next.Add(1)) - 1
				if number >= n {
					return
				}
				problems[w] = once(number)
			}
		})
	}
	group.Wait()
	return errors.Join(problems...)
}

// bare is the loop with crypto/tls and nothing else. It makes the pool's exchange: the body leaves when the receiver has
// said that it wants it, so that both sides cross the network equally often.
type bare struct {
	fleet  *fleet
	dialer tls.Dialer
	header [receivers][]byte
	body   []byte
}

func newBare(f *fleet, body []byte) *bare {
	certificate := f.identity.Certificate()
	b := &bare{fleet: f, body: body}
	b.dialer = tls.Dialer{NetDialer: &net.Dialer{}, Config: &tls.Config{
		ServerName: "127.0.0.1", RootCAs: f.roots(), MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil },
	}}
	for i, host := range f.hosts {
		b.header[i] = fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: Handfast\r\nContent-Length: %d\r\nExpect: 100-continue\r\n"+
			"Content-Type: application/cloudevents+json\r\nWebhook-Id: msg_1\r\n\r\n", oncePath, host, len(body))
	}
	return b
}

func (b *bare) open(ctx context.Context, n, workers int) error {
	return each(n, workers, func(number int) error { return b.once(ctx, number%receivers) })
}

func (b *bare) once(ctx context.Context, i int) error {
	conn, err := b.dialer.DialContext(ctx, "tcp", b.fleet.hosts[i])
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	// The pool does not wait for anybody to take its close_notify either.
	defer conn.(*tls.Conn).NetConn().Close() //nolint:errcheck,forcetypeassert // it has been read to its end, and tls.Dialer gives nothing else
	in := bufio.NewReaderSize(conn, 4<<10)
	for _, step := range []struct {
		write []byte
		want  int
	}{{b.header[i], http.StatusContinue}, {b.body, http.StatusNoContent}} {
		if _, err := conn.Write(step.write); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		response, err := http.ReadResponse(in, nil)
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		_, err = io.Copy(io.Discard, response.Body)
		if err := errors.Join(err, response.Body.Close()); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if response.StatusCode != step.want {
			return fmt.Errorf("the receiver answered HTTP %d instead of %d", response.StatusCode, step.want)
		}
	}
	return nil
}

// pooled is the dispatcher's pool, metrics on and traces sampled, with a destination for each of the requests of a batch.
type pooled struct {
	options  mtls.Options
	targets  [batch]mtls.Target
	requests [receivers]*mtls.Request
}

func newPooled(f *fleet, body []byte, options mtls.Options) (*pooled, error) {
	var err error
	if options.Addresses, err = mtls.ParseAddressPolicy([]string{"127.0.0.0/8"}); err != nil {
		return nil, fmt.Errorf("allow loopback: %w", err)
	}
	trust, err := mtls.NewTrust([]*x509.Certificate{f.authority.Certificate()}, nil)
	if err != nil {
		return nil, err
	}
	p := &pooled{options: options}
	for i, host := range f.hosts {
		p.requests[i] = &mtls.Request{
			Method: http.MethodPost, Path: oncePath, Host: host, Body: body,
			Header: http.Header{"Content-Type": {"application/cloudevents+json"}, "Webhook-Id": {"msg_1"}},
		}
	}
	// Another name makes another destination of the same receiver; the certificate is one, as on the other side.
	names := make([]string, 0, batch/receivers)
	for n := range batch / receivers {
		names = append(names, current+"-"+strconv.Itoa(n))
	}
	identities, err := f.issue(currentPath, names...)
	if err != nil {
		return nil, err
	}
	for i := range p.targets {
		p.targets[i] = mtls.Target{
			Authority: f.hosts[i%receivers], ServerName: "127.0.0.1", Identity: mtls.Static(identities[names[i/receivers]]), Trust: trust,
		}
	}
	return p, nil
}

func (p *pooled) open(ctx context.Context, n, workers int) error {
	pool, err := mtls.NewPool(p.options)
	if err != nil {
		return err
	}
	defer pool.Close()
	return each(n, workers, func(number int) error {
		response, err := pool.Do(ctx, p.targets[number], p.requests[number%receivers])
		if err == nil && (response.Status != http.StatusNoContent || response.Reused) {
			err = fmt.Errorf("the receiver answered HTTP %d instead of %d, reused: %t", response.Status, http.StatusNoContent, response.Reused)
		}
		return err
	})
}
