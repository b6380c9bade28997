package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// raw is the loop that somebody would write on an afternoon: sign, post, next. It stores nothing, retries nothing and
// matches nothing.
type raw struct {
	fleet     *fleet
	transport *http.Transport
	secret    []byte
}

// mostWorkers bounds the search for the best number.
const mostWorkers = 256

func newRaw(f *fleet) *raw {
	certificate := f.identity.Certificate()
	r := &raw{fleet: f, secret: make([]byte, 32)}
	_, _ = rand.Read(r.secret)
	r.transport = &http.Transport{
		MaxIdleConns: receivers * mostWorkers, MaxIdleConnsPerHost: mostWorkers, IdleConnTimeout: time.Minute,
		DisableCompression: true, ForceAttemptHTTP2: f.http2,
		TLSClientConfig: &tls.Config{
			RootCAs: f.roots(), MinVersion: tls.VersionTLS13,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil },
		},
	}
	return r
}

func (r *raw) close() { r.transport.CloseIdleConnections() }

// best finds the number of workers that is fastest here, which also opens the connections. Each number is tried twice.
func (r *raw) best(ctx context.Context, deliveries int) (workers int, err error) {
	fastest := 0.0
	for _, try := range []int{8, 16, 32, 64, 128, 8, 16, 32, 64, 128} {
		n := max(deliveries/4, 1)
		c, err := timed(n, func() error { return r.run(ctx, n, try) })
		if err != nil {
			return 0, err
		}
		if c.PerSecond > fastest {
			fastest, workers = c.PerSecond, try
		}
	}
	return workers, nil
}

// run makes n deliveries with so many workers.
func (r *raw) run(ctx context.Context, n, workers int) error {
	l, err := newLoad()
	if err != nil {
		return err
	}
	body, err := l.template()
	if err != nil {
		return err
	}
	var next atomic.Int64
	problems := make(chan error, workers)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			text := make([]byte, 0, bodySize)
			for {
				number := int(next.Add(1)) - 1
				if number >= n {
					return
				}
				text = body.fill(text, number)
				if err := r.post(ctx, number, text); err != nil {
					problems <- err
					return
				}
			}
		})
	}
	group.Wait()
	close(problems)
	var all []error
	for err := range problems {
		all = append(all, err)
	}
	return errors.Join(all...)
}

func (r *raw) post(ctx context.Context, number int, body []byte) error {
	url := "https://" + r.fleet.hosts[number%receivers] + "/hooks/" + strconv.Itoa(number%endpoints)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	id, stamp := "msg_"+strconv.Itoa(number), strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, r.secret)
	_, _ = io.WriteString(mac, id+"."+stamp+".")
	_, _ = mac.Write(body)
	request.Header = http.Header{
		"Content-Type": {"application/cloudevents+json"}, "Webhook-Id": {id}, "Webhook-Timestamp": {stamp},
		"Webhook-Signature": {"v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))},
	}
	response, err := r.transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("post: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // read to its end
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if response.StatusCode != http.StatusNoContent {
		return fmt.Errorf("the receiver answered HTTP %d", response.StatusCode)
	}
	return nil
}
