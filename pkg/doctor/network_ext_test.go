package doctor_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/doctor"
)

func TestHealthyReceiver(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			w := newWorld(t)
			config := w.config()
			config.MaxVersion = version
			target := w.serve(config, nil)
			target.Next = w.identity("next", w.ours)
			r := w.examine(target, doctor.Options{})
			assert.True(t, r.Healthy, "%+v", r.Steps)
			assert.Equal(t, doctor.Delivered, r.Outcome)
			says(t, r, doctor.StepConnection, true, "is open")
			says(t, r, doctor.StepTLS, true, tls.VersionName(version))
			says(t, r, doctor.StepServerCertificate, true, "hooks.example.com", "CN=Receiver Root", "passes this endpoint's trust")
			says(t, r, doctor.StepCertificateRequest, true, `asks for a client certificate issued by "CN=Handfast Client Root"`)
			says(t, r, doctor.StepIdentity, true, "fit for use", us)
			says(t, r, doctor.StepWithCurrent, true, `accepted "default"`, "HTTP 204")
			says(t, r, doctor.StepWithNext, true, `accepted "next"`)
			says(t, r, doctor.StepWithoutCertificate, true, "alert", "as it must")
			says(t, r, doctor.StepWithStranger, true, "gets nowhere", "as it must")
			says(t, r, doctor.StepClock, true, "agree")
			assert.Equal(t, []string{"OPTIONS " + secretPath, "OPTIONS " + secretPath}, w.requests, "of the four connections, two may ask")
		})
	}
}

func TestReceiverThatSpeaksOnlyHTTP2(t *testing.T) {
	for name, strict := range map[string]bool{"by closing": false, "by alert": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			config := w.config()
			config.NextProtos = []string{"h2"}
			if strict {
				// Go's own server is lenient with HTTP/1.1; a protocol beside h2 ends that.
				config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
					strict := config.Clone()
					if !slices.Contains(hello.SupportedProtos, "h2") {
						strict.NextProtos = []string{"none"}
					}
					return strict, nil
				}
			}
			l, err := tls.Listen("tcp", "127.0.0.1:0", config)
			require.NoError(t, err)
			protocols := new(http.Protocols)
			protocols.SetHTTP2(true)
			s := &http.Server{Handler: http.NotFoundHandler(), Protocols: protocols, TLSConfig: config.Clone(), ErrorLog: log.New(io.Discard, "", 0)}
			go s.Serve(l)
			t.Cleanup(func() { s.Close() })
			r := w.examine(w.target(l.Addr().String()), doctor.Options{})
			says(t, r, doctor.StepWithCurrent, true, "HTTP/2 only", "HTTP 404")
			says(t, r, doctor.StepWithoutCertificate, true, "certificate required")
			says(t, r, doctor.StepWithStranger, true, "unknown certificate authority")
			assert.True(t, r.Healthy)
		})
	}
}

func TestNames(t *testing.T) {
	for _, test := range []struct {
		name  string
		found []netip.Addr
		err   error
		want  string
	}{
		{"unknown", nil, &net.DNSError{Err: "no such host", IsNotFound: true}, "knows no address of the name hooks.example.com"},
		{"silent", nil, &net.DNSError{Err: "i/o timeout", IsTimeout: true}, "No name server answered"},
		{"broken", nil, &net.DNSError{Err: "server misbehaving"}, "server misbehaving"},
		{"empty", nil, nil, "knows no address"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			target := w.target("hooks.example.com")
			r := w.examine(target, doctor.Options{
				Lookup: func(context.Context, string) ([]netip.Addr, error) { return test.found, test.err },
				Dial: func(context.Context, string, string) (net.Conn, error) {
					panic("nothing may be dialled")
				},
			})
			assert.Equal(t, doctor.NameNotResolved, r.Outcome)
			says(t, r, doctor.StepName, false, test.want)
			assert.Len(t, r.Steps, 1)
		})
	}
}

// Names lead to addresses, and the first that works is used for everything.
func TestAddressesAreTriedInOrder(t *testing.T) {
	w := newWorld(t)
	target := w.serve(w.config(), nil)
	port := target.URL.Port()
	target.URL.Host = "hooks.example.com:" + port
	dialled := map[string]int{}
	r := w.examine(target, doctor.Options{
		Lookup: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.9"), netip.MustParseAddr("::ffff:127.0.0.1")}, nil
		},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			dialled[address]++
			if strings.HasPrefix(address, "127.0.0.9") {
				return nil, syscall.ECONNREFUSED
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	})
	assert.True(t, r.Healthy, "%+v", r.Steps)
	says(t, r, doctor.StepName, true, "hooks.example.com is 127.0.0.9, 127.0.0.1.")
	says(t, r, doctor.StepConnection, true, "127.0.0.9:"+port+" could not be reached", "remove addresses")
	assert.Equal(t, 1, dialled["127.0.0.9:"+port])
}

func TestConnections(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		w := newWorld(t)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		address := l.Addr().String()
		l.Close()
		r := w.examine(w.target(address), doctor.Options{})
		assert.Equal(t, doctor.ConnectionRefused, r.Outcome)
		says(t, r, doctor.StepConnection, false, "refused the TCP connection", "nothing listens")
	})
	for _, test := range []struct {
		name    string
		err     error
		outcome doctor.Outcome
		want    string
	}{
		{"no route", syscall.EHOSTUNREACH, doctor.ConnectionRefused, "no route"},
		{"anything else", io.ErrUnexpectedEOF, doctor.ConnectionLost, "unexpected EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			r := w.examine(w.target("127.0.0.1:1"), doctor.Options{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, test.err }})
			assert.Equal(t, test.outcome, r.Outcome)
			says(t, r, doctor.StepConnection, false, test.want)
		})
	}
	t.Run("timed out", func(t *testing.T) {
		w := newWorld(t)
		r := w.examine(w.target("127.0.0.1:1"), doctor.Options{Timeout: 20 * time.Millisecond, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		assert.Equal(t, doctor.TimedOut, r.Outcome)
		says(t, r, doctor.StepConnection, false, "did not answer within 20ms", "firewall")
	})
}
