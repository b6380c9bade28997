package doctor_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/doctor"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
)

const (
	secretPath = "/in/s3cret-path?token=s3cret"
	us         = "spiffe://handfast.example/dispatcher"
)

// world is a receiver's authority, ours, and what a receiver saw.
type world struct {
	t           *testing.T
	theirs      *authority.Authority // issues the receivers' certificates
	ours        *authority.Authority // issues the clients' certificates
	mu          sync.Mutex
	requests    []string // method and target of every request
	bodies      int      // bytes of bodies
	certificate int      // client certificates that were seen
}

func newWorld(t *testing.T) *world {
	t.Helper()
	theirs, err := authority.New("Receiver Root")
	require.NoError(t, err)
	ours, err := authority.New("Handfast Client Root")
	require.NoError(t, err)
	return &world{t: t, theirs: theirs, ours: ours}
}

func pair(t *testing.T, certificatePEM, keyPEM []byte, err error) tls.Certificate {
	t.Helper()
	require.NoError(t, err)
	p, err := tls.X509KeyPair(certificatePEM, keyPEM)
	require.NoError(t, err)
	return p
}

func pool(of ...*authority.Authority) *x509.CertPool {
	p := x509.NewCertPool()
	for _, a := range of {
		p.AddCert(a.Certificate())
	}
	return p
}

// identity is a client certificate of an authority.
func (w *world) identity(name string, from *authority.Authority) doctor.Identity {
	w.t.Helper()
	certificatePEM, keyPEM, err := from.Client(us)
	require.NoError(w.t, err)
	return doctor.ReadIdentity(name, certificatePEM, keyPEM, time.Now())
}

// config is that of a receiver as it should be.
func (w *world) config() *tls.Config {
	certificatePEM, keyPEM, err := w.theirs.Server("127.0.0.1", "hooks.example.com")
	return &tls.Config{
		Certificates: []tls.Certificate{pair(w.t, certificatePEM, keyPEM, err)},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool(w.ours), MinVersion: tls.VersionTLS12,
	}
}

// serve runs a receiver and gives the target that fits it.
func (w *world) serve(config *tls.Config, handler http.HandlerFunc) doctor.Target {
	w.t.Helper()
	if handler == nil {
		handler = func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNoContent) }
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.mu.Lock()
		w.requests = append(w.requests, r.Method+" "+r.RequestURI)
		w.bodies += len(body)
		w.certificate += len(r.TLS.PeerCertificates)
		w.mu.Unlock()
		handler(rw, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = config
	s.StartTLS()
	w.t.Cleanup(s.Close)
	return w.target(s.Listener.Addr().String())
}

// speak runs a server that is no TLS server.
func (w *world) speak(serve func(net.Conn)) doctor.Target {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(w.t, err)
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	w.t.Cleanup(func() {
		l.Close()
		served.Wait()
	})
	return w.target(l.Addr().String())
}

// tlsServe runs a TLS server that handles connections itself.
func (w *world) tlsServe(config *tls.Config, serve func(raw net.Conn, conn *tls.Conn)) doctor.Target {
	return w.speak(func(raw net.Conn) {
		serve(raw, tls.Server(raw, config))
	})
}

func (w *world) target(address string) doctor.Target {
	w.t.Helper()
	u, err := url.Parse("https://" + address + secretPath)
	require.NoError(w.t, err)
	roots := []*x509.Certificate{w.theirs.Certificate()}
	trust, err := mtls.NewTrust(roots, nil)
	require.NoError(w.t, err)
	return doctor.Target{URL: u, Trust: trust, Roots: roots, Current: w.identity("default", w.ours)}
}

// examine runs the doctor and checks what holds for every report.
func (w *world) examine(target doctor.Target, options doctor.Options) *doctor.Report {
	w.t.Helper()
	if options.Timeout == 0 {
		options.Timeout = 10 * time.Second
	}
	report, err := doctor.Examine(context.Background(), target, options)
	require.NoError(w.t, err)
	require.NotEmpty(w.t, report.Steps)
	every := true
	for _, s := range report.Steps {
		every = every && s.OK
		assert.NotContains(w.t, s.Said+s.Do, "s3cret", "the path is secret")
		assert.NotContains(w.t, s.Said+s.Do, "%!", "a broken format")
		assert.NotEmpty(w.t, s.Said)
		assert.True(w.t, s.OK || s.Do != "", "%s says nothing to do", s.Step)
		for line := range strings.SplitSeq(s.Do, "\n") {
			assert.Regexp(w.t, `^(Receiver: |Here: |$)`, line)
		}
	}
	assert.Equal(w.t, every, report.Healthy)
	if report.Healthy {
		assert.Equal(w.t, doctor.Delivered, report.Outcome)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	assert.Zero(w.t, w.bodies, "no byte of a message may be sent")
	return report
}

// step finds one, or fails.
func step(t *testing.T, r *doctor.Report, name doctor.Name) doctor.Step {
	t.Helper()
	for _, s := range r.Steps {
		if s.Step == name {
			return s
		}
	}
	require.Fail(t, "no step "+string(name), "%+v", r.Steps)
	return doctor.Step{}
}

func has(r *doctor.Report, name doctor.Name) bool {
	for _, s := range r.Steps {
		if s.Step == name {
			return true
		}
	}
	return false
}

// says wants words in a step, in what was said or what to do.
func says(t *testing.T, r *doctor.Report, name doctor.Name, ok bool, want ...string) {
	t.Helper()
	s := step(t, r, name)
	assert.Equal(t, ok, s.OK, "%s: %s", name, s.Said)
	for _, words := range want {
		assert.Contains(t, s.Said+"\n"+s.Do, words)
	}
}
