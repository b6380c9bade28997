package system

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls/authority"
)

// crowd are the receivers of a rotation. They know who came when, and nothing of how a rotation works. The first few
// refuse the next identity: by alert, by 403, by nginx's page.
type crowd struct {
	hosts [receivers]string

	mu    sync.Mutex
	seen  map[string]int // by event
	wrong []string
	by    map[string]int
	last  map[lastSeen]time.Time
}

type lastSeen struct {
	receiver int
	name     string
}

const refusalPage = "<html><head><title>400 The SSL certificate error</title></head><body>The SSL certificate error</body></html>"

func openCrowd(t *testing.T, ca *authority.Authority) *crowd {
	t.Helper()
	c := &crowd{seen: make(map[string]int), by: make(map[string]int), last: make(map[lastSeen]time.Time)}
	clients := x509.NewCertPool()
	clients.AddCert(ca.Certificate())
	for n := range receivers {
		certificatePEM, keyPEM, err := ca.Server("127.0.0.1")
		require.NoError(t, err)
		certificate, err := tls.X509KeyPair(certificatePEM, keyPEM)
		require.NoError(t, err)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		c.hosts[n] = listener.Addr().String()
		var protocols http.Protocols
		protocols.SetHTTP1(true)
		protocols.SetHTTP2(n%2 == 0)
		config := &tls.Config{Certificates: []tls.Certificate{certificate}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
		if n%3 == 2 {
			config.MaxVersion = tls.VersionTLS12
		}
		if n == 0 {
			config.VerifyConnection = func(state tls.ConnectionState) error {
				if state.PeerCertificates[0].URIs[0].String() == nextName {
					return errors.New("this client is not let in")
				}
				return nil
			}
		}
		s := &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.serve(n, w, r) }), ReadHeaderTimeout: time.Minute,
			ErrorLog: log.New(io.Discard, "", 0), Protocols: &protocols, TLSConfig: config,
		}
		go s.ServeTLS(listener, "", "")
		t.Cleanup(func() { s.Close() })
	}
	return c
}

func (c *crowd) serve(n int, w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender was killed in the middle
	}
	name := r.TLS.PeerCertificates[0].URIs[0].String()
	message, refused := r.Method == http.MethodPost, n < refusers && name != client
	if message {
		c.take(n, name, body, refused)
	}
	switch {
	case refused && n == 1:
		w.WriteHeader(http.StatusForbidden)
	case refused:
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, refusalPage)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func (c *crowd) take(n int, name string, body []byte, refused bool) {
	var e struct {
		ID string `json:"id"`
	}
	err := json.Unmarshal(body, &e)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil || e.ID == "":
		c.wrong = append(c.wrong, fmt.Sprintf("receiver %d got no event: %.100s", n, body))
		return
	case refused:
		c.wrong = append(c.wrong, fmt.Sprintf("receiver %d got event %s under %s, which it refuses", n, e.ID, name))
		return
	}
	c.seen[e.ID]++
	c.by[name[strings.LastIndex(name, "/")+1:]]++
	c.last[lastSeen{n, name}] = time.Now()
}

// arrived is how many different events have come.
func (c *crowd) arrived() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.seen)
}

// names counts the messages by who brought them.
func (c *crowd) names() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.by)
}

// complaints are messages under a wrong identity: one that the receiver refuses, at any time, and one that it should
// not get any more, after everything was settled.
func (c *crowd) complaints(settled time.Time) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	wrong := c.wrong[:min(len(c.wrong), 20):min(len(c.wrong), 20)]
	for at, when := range c.last {
		if at.receiver >= refusers && at.name == client && when.After(settled) {
			wrong = append(wrong, fmt.Sprintf("receiver %d got a message under the old identity %s after everything was settled", at.receiver, when.Sub(settled)))
		}
	}
	for n := range receivers {
		name := nextName
		if n < refusers {
			name = client
		}
		if !c.last[lastSeen{n, name}].After(settled) {
			wrong = append(wrong, fmt.Sprintf("receiver %d got nothing under %s after everything was settled", n, name))
		}
	}
	return wrong
}
