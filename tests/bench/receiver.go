package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
)

// receivers is how many servers there are, each with a port of its own.
const receivers = 10

// fleet is the receivers. They require a client certificate, read every request to its end, note which event it
// carried, and answer 204.
type fleet struct {
	authority *authority.Authority
	identity  *mtls.Identity
	hosts     [receivers]string // host:port
	servers   [receivers]*http.Server
	http2     bool
	// once lets every answer end its connection, so that the next request needs a new one.
	once    bool
	buffers sync.Pool

	requests, handshakes, resumed atomic.Int64
	// rotated counts the requests that came under another identity than the current one.
	rotated atomic.Int64
	// seen gets every request, with the number that its body carries.
	seen atomic.Pointer[func(number int)]
	// judge says whether a request is accepted; another one is answered 401, and counts as seen.
	judge atomic.Pointer[func(r *http.Request, body []byte) bool]
}

// counts are totals since the start.
type counts struct{ requests, handshakes, resumed, rotated int64 }

func (f *fleet) count() counts {
	return counts{requests: f.requests.Load(), handshakes: f.handshakes.Load(), resumed: f.resumed.Load(), rotated: f.rotated.Load()}
}

// openFleet starts the receivers: for deliveries, or for handshakes, once for every request.
func openFleet(http2, once bool) (*fleet, error) {
	f := &fleet{http2: http2, once: once}
	f.buffers.New = func() any { return new(bytes.Buffer) }
	f.watch(func(int) {})
	f.judgeBy(func(*http.Request, []byte) bool { return true })
	var err error
	if f.authority, err = authority.New("Handfast benchmark authority"); err != nil {
		return nil, fmt.Errorf("make an authority: %w", err)
	}
	issued, err := f.issue(currentPath, current)
	if err != nil {
		return nil, err
	}
	f.identity = issued[current]
	for i := range receivers {
		if err := f.open(i); err != nil {
			f.close()
			return nil, fmt.Errorf("open receiver %d: %w", i, err)
		}
	}
	return f, nil
}

// currentPath is the path in the SPIFFE ID of the current identity.
const currentPath = "/dispatcher"

// issue makes a client identity under each of the names; all of them are one certificate.
func (f *fleet) issue(path string, names ...string) (map[string]*mtls.Identity, error) {
	certificatePEM, keyPEM, err := f.authority.Client("spiffe://bench.handfast.test" + path)
	if err != nil {
		return nil, fmt.Errorf("issue client certificate %s: %w", path, err)
	}
	identities := make(map[string]*mtls.Identity, len(names))
	for _, name := range names {
		if identities[name], err = mtls.NewIdentity(name, certificatePEM, keyPEM, time.Now()); err != nil {
			return nil, fmt.Errorf("load client identity %s: %w", name, err)
		}
	}
	return identities, nil
}

// identities are the current one and so many to rotate to.
func (f *fleet) identities(successors int) (map[string]mtls.Source, error) {
	all := map[string]mtls.Source{current: mtls.Static(f.identity)}
	for n := range successors {
		name := successor(n + 1)
		issued, err := f.issue(currentPath+"/"+name, name)
		if err != nil {
			return nil, err
		}
		all[name] = mtls.Static(issued[name])
	}
	return all, nil
}

func (f *fleet) open(i int) error {
	certificatePEM, keyPEM, err := f.authority.Server("127.0.0.1")
	if err != nil {
		return fmt.Errorf("issue its certificate: %w", err)
	}
	certificate, err := tls.X509KeyPair(certificatePEM, keyPEM)
	if err != nil {
		return fmt.Errorf("load its certificate: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	f.hosts[i] = listener.Addr().String()
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(f.http2)
	f.servers[i] = &http.Server{
		Handler: f, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0), Protocols: &protocols,
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{certificate}, ClientCAs: f.roots(), ClientAuth: tls.RequireAndVerifyClientCert,
			MinVersion: tls.VersionTLS13,
			// It runs once for every handshake, resumed or not.
			VerifyConnection: func(cs tls.ConnectionState) error {
				f.handshakes.Add(1)
				if cs.DidResume {
					f.resumed.Add(1)
				}
				return nil
			},
		},
	}
	go f.servers[i].ServeTLS(listener, "", "") //nolint:errcheck // it ends with close
	return nil
}

func (f *fleet) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(f.authority.Certificate())
	return pool
}

func (f *fleet) close() {
	for _, server := range f.servers {
		if server != nil {
			_ = server.Close()
		}
	}
}

// watch names who learns of every request from now on. It is called by many goroutines at a time and must be quick.
func (f *fleet) watch(seen func(number int)) { f.seen.Store(&seen) }

// judgeBy names who decides about every request from now on, under the same conditions as watch.
func (f *fleet) judgeBy(judge func(r *http.Request, body []byte) bool) { f.judge.Store(&judge) }

// ServeHTTP takes one delivery.
func (f *fleet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions { // a probe
		w.WriteHeader(http.StatusNoContent)
		return
	}
	body, ok := f.buffers.Get().(*bytes.Buffer)
	if !ok {
		body = new(bytes.Buffer)
	}
	defer f.buffers.Put(body)
	body.Reset()
	if _, err := body.ReadFrom(r.Body); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	number, err := numberIn(body.Bytes())
	if err != nil || body.Len() != bodySize {
		w.WriteHeader(http.StatusUnprocessableEntity) // fails the run loudly: the two sides must send the same
		return
	}
	f.requests.Add(1)
	if !underCurrent(r.TLS) {
		f.rotated.Add(1)
	}
	if f.once {
		w.Header().Set("Connection", "close")
	}
	status := http.StatusNoContent
	if !(*f.judge.Load())(r, body.Bytes()) {
		status = http.StatusUnauthorized
	}
	(*f.seen.Load())(number)
	w.WriteHeader(status)
}

// underCurrent tells whether the client is the current identity and none that it is being rotated to.
func underCurrent(cs *tls.ConnectionState) bool {
	uris := cs.PeerCertificates[0].URIs // there is one: the listener demands it
	return len(uris) == 1 && uris[0].Path == currentPath
}

var errNoNumber = errors.New("the body carries no number")

// numberIn finds the number of the event in a body: it stands first in the data.
func numberIn(body []byte) (int, error) {
	at := bytes.Index(body, []byte(numberField))
	if at < 0 || at+len(numberField)+numberDigits > len(body) {
		return 0, errNoNumber
	}
	at += len(numberField)
	n, err := strconv.Atoi(string(body[at : at+numberDigits]))
	if err != nil {
		return 0, errNoNumber
	}
	return n, nil
}
