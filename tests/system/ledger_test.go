package system

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/signature"
)

const (
	receivers = 10
	endpoints = 50
	tenant    = "acme"
	source    = "/system"
	client    = "spiffe://handfast.test/dispatcher"
)

func endpointName(n int) string { return "hook-" + strconv.Itoa(n) }

// eventType is the type that endpoint n and no other wants.
func eventType(n int) string { return "com.acme.kind." + strconv.Itoa(n) }

// ledger is the judge. It knows what was published and what arrived, and nothing of how Handfast works.
type ledger struct {
	mu sync.Mutex
	// acked are the events whose publish was acknowledged, with the endpoint that must get them.
	acked map[string]int
	// came are the deliveries that arrived whole, by event and endpoint.
	came map[arrival]*record
	// owner is the delivery to which a webhook-id belongs.
	owner map[string]arrival
	// wrong is everything that must not happen.
	wrong []string
	hits  int
}

type arrival struct {
	event    string
	endpoint int
}

type record struct {
	id    string
	first time.Time
	times int
}

func newLedger() *ledger {
	return &ledger{acked: make(map[string]int), came: make(map[arrival]*record), owner: make(map[string]arrival)}
}

func (l *ledger) publish(event string, endpoint int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[event] = endpoint
}

func (l *ledger) blamef(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
}

func (l *ledger) arrive(at arrival, id string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hits++
	if owner, ok := l.owner[id]; ok && owner != at {
		l.wrong = append(l.wrong, fmt.Sprintf("webhook-id %s stands for %v and for %v", id, owner, at))
	}
	l.owner[id] = at
	r := l.came[at]
	if r == nil {
		r = &record{id: id, first: now}
		l.came[at] = r
	}
	if r.id != id {
		l.wrong = append(l.wrong, fmt.Sprintf("%v came as webhook-id %s and as %s", at, r.id, id))
	}
	r.times++
}

// counts are the acknowledged publishes, the different deliveries, and all requests.
func (l *ledger) counts() (acked, deliveries, requests int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked), len(l.came), l.hits
}

// missing lists the events that are owed.
func (l *ledger) missing() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var owed []string
	for event, endpoint := range l.acked {
		if l.came[arrival{event, endpoint}] == nil {
			owed = append(owed, fmt.Sprintf("event %s for %s", event, endpointName(endpoint)))
		}
	}
	return owed
}

// repeated tells, for the deliveries that came more than once, when each came first.
func (l *ledger) repeated() (first []time.Time, extra int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.came {
		for range r.times - 1 {
			first = append(first, r.first)
			extra++
		}
	}
	return first, extra
}

// complaints are the things that must not have happened, the first few in words.
func (l *ledger) complaints() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.wrong) > 10 {
		return append(l.wrong[:10:10], fmt.Sprintf("… and %d more", len(l.wrong)-10))
	}
	return l.wrong
}

// hooks are the receivers. Half of them offer HTTP/2. They check the signatures with other people's code where there is
// some: the reference library of Standard Webhooks for v1.
type hooks struct {
	ledger *ledger
	hosts  [receivers]string
	keys   [endpoints]keys
}

type keys struct {
	v1  *standardwebhooks.Webhook
	v1a []signature.Verifier
}

// answerTime is how long a receiver works on a message: long enough that a kill finds requests under way.
const answerTime = 5 * time.Millisecond

func openHooks(t *testing.T, ca *authority.Authority, l *ledger) *hooks {
	t.Helper()
	h := &hooks{ledger: l}
	clients := x509.NewCertPool()
	clients.AddCert(ca.Certificate())
	for n := range receivers {
		certificatePEM, keyPEM, err := ca.Server("127.0.0.1")
		require.NoError(t, err)
		certificate, err := tls.X509KeyPair(certificatePEM, keyPEM)
		require.NoError(t, err)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		h.hosts[n] = listener.Addr().String()
		var protocols http.Protocols
		protocols.SetHTTP1(true)
		protocols.SetHTTP2(n%2 == 0)
		s := &http.Server{
			Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0), Protocols: &protocols,
			TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12},
		}
		go s.ServeTLS(listener, "", "")
		t.Cleanup(func() { s.Close() })
	}
	return h
}

// setKeys gives endpoint n the receiving side of its keys. All are set before the first event.
func (h *hooks) setKeys(t *testing.T, n int, ring []signature.Key) {
	t.Helper()
	for _, key := range ring {
		switch key.Scheme {
		case "v1":
			v1, err := standardwebhooks.NewWebhook(key.Reveal())
			require.NoError(t, err)
			h.keys[n].v1 = v1
		case "v1a":
			v1a, err := signature.ParsePublic(key.Public())
			require.NoError(t, err)
			h.keys[n].v1a = append(h.keys[n].v1a, v1a)
		}
	}
	require.NotNil(t, h.keys[n].v1)
	require.NotEmpty(t, h.keys[n].v1a)
}

// ServeHTTP takes one request into the ledger, or blames the sender. What is blamed is answered 2xx all the same, so
// that a fault shows as a fault and not as a retry.
func (h *hooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions { // the request without a message that comes first on HTTP/2
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender was killed in the middle: nothing has arrived
	}
	if at, err := h.judge(r, body); err != nil {
		h.ledger.blamef("%s: %v", r.URL.Path, err)
	} else {
		h.ledger.arrive(at, r.Header.Get("webhook-id"), time.Now())
	}
	done, cancel := context.WithTimeout(r.Context(), answerTime)
	defer cancel()
	<-done.Done()
	w.WriteHeader(http.StatusNoContent)
}

func (h *hooks) judge(r *http.Request, body []byte) (arrival, error) {
	if names := r.TLS.PeerCertificates[0].URIs; len(names) != 1 || names[0].String() != client {
		return arrival{}, fmt.Errorf("the client is %v", names)
	}
	n, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/hooks/"))
	if err != nil || n < 0 || n >= endpoints || r.Host != h.hosts[n%receivers] {
		return arrival{}, fmt.Errorf("no such hook at %s", r.Host)
	}
	if err := h.keys[n].v1.Verify(body, r.Header); err != nil {
		return arrival{}, fmt.Errorf("v1: %w", err)
	}
	if _, err := signature.VerifyStandard(r.Header, body, h.keys[n].v1a, time.Now(), 0); err != nil {
		return arrival{}, fmt.Errorf("v1a: %w", err)
	}
	var event struct {
		ID     string `json:"id"`
		Source string `json:"source"`
		Type   string `json:"type"`
	}
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&event); err != nil {
		return arrival{}, fmt.Errorf("the body is no event: %w", err)
	}
	if event.Source != source || event.ID == "" {
		return arrival{}, errors.New("the event is not one of ours")
	}
	if event.Type != eventType(n) {
		return arrival{}, fmt.Errorf("event %s of type %s is not for this endpoint", event.ID, event.Type)
	}
	return arrival{event: event.ID, endpoint: n}, nil
}
