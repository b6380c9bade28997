package doctor_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/handfast/handfast/pkg/doctor"
)

func TestHostThatDiffersFromTheName(t *testing.T) {
	strict := func(w *world, served ...string) doctor.Target {
		target := w.serve(w.config(), func(rw http.ResponseWriter, r *http.Request) {
			host, _, _ := net.SplitHostPort(r.Host)
			if !slices.Contains(served, host) {
				rw.WriteHeader(http.StatusMisdirectedRequest)
			}
		})
		target.ServerName = "hooks.example.com"
		return target
	}
	t.Run("refused", func(t *testing.T) {
		w := newWorld(t)
		r := w.examine(strict(w, "hooks.example.com"), doctor.Options{})
		assert.Equal(t, doctor.ClientCertificateRefused, r.Outcome)
		says(t, r, doctor.StepWithCurrent, false, "HTTP 421 Misdirected Request", "strict_sni_host")
		says(t, r, doctor.StepHost, false, `TLS asks for "hooks.example.com" (SNI), HTTP for "127.0.0.1:`, `Asked for "hooks.example.com" by both, it answered HTTP 200`, `use "hooks.example.com" in the URL`)
	})
	t.Run("served", func(t *testing.T) {
		w := newWorld(t)
		r := w.examine(strict(w, "127.0.0.1"), doctor.Options{})
		assert.True(t, r.Healthy)
		says(t, r, doctor.StepHost, true, "serves this pair")
	})
	t.Run("refused whatever is asked for", func(t *testing.T) {
		w := newWorld(t)
		r := w.examine(strict(w), doctor.Options{})
		assert.Equal(t, doctor.ClientCertificateRefused, r.Outcome)
		says(t, r, doctor.StepHost, false, "answered HTTP 421 to this pair")
		assert.NotContains(t, step(t, r, doctor.StepHost).Said, "by both")
	})
}

func TestClocks(t *testing.T) {
	for _, test := range []struct {
		skew    time.Duration
		outcome doctor.Outcome
		want    string
	}{
		{-10 * time.Minute, doctor.Rejected, "behind ours"},
		{10 * time.Minute, doctor.Rejected, "ahead of ours"},
		{2 * time.Minute, doctor.Delivered, "within what signatures allow"},
	} {
		w := newWorld(t)
		r := w.examine(w.serve(w.config(), func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Date", time.Now().Add(test.skew).UTC().Format(http.TimeFormat))
		}), doctor.Options{})
		assert.Equal(t, test.outcome, r.Outcome)
		says(t, r, doctor.StepClock, test.outcome == doctor.Delivered, test.want, "NTP")
	}
	w := newWorld(t)
	r := w.examine(w.serve(w.config(), func(rw http.ResponseWriter, _ *http.Request) { rw.Header()["Date"] = nil }), doctor.Options{})
	assert.True(t, r.Healthy)
	assert.False(t, has(r, doctor.StepClock))
}

func TestProxiesInThePath(t *testing.T) {
	t.Run("in front of a receiver that never asks", func(t *testing.T) {
		w := newWorld(t)
		config := w.config()
		config.ClientAuth = tls.NoClientCert
		r := w.examine(w.serve(config, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Via", "1.1 cdn.example")
			rw.Header().Set("Cf-Ray", "8f3")
		}), doctor.Options{})
		assert.Equal(t, doctor.ClientCertificateNotRequested, r.Outcome)
		says(t, r, doctor.StepPath, false, "Suspicion (inferred): a proxy or CDN", "Via: 1.1 cdn.example, Cf-Ray: 8f3", "pass TLS through")
	})
	t.Run("one that does its work", func(t *testing.T) {
		w := newWorld(t)
		r := w.examine(w.serve(w.config(), func(rw http.ResponseWriter, _ *http.Request) { rw.Header().Set("Via", "1.1 lb.example") }), doctor.Options{})
		assert.True(t, r.Healthy)
		assert.False(t, has(r, doctor.StepPath))
	})
	t.Run("certificates that change between handshakes", func(t *testing.T) {
		w := newWorld(t)
		config := w.config()
		certificates := []tls.Certificate{w.config().Certificates[0], w.config().Certificates[0]}
		next := 0
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			next++
			this := config.Clone()
			this.Certificates = certificates[next%2 : next%2+1]
			return this, nil
		}
		r := w.examine(w.serve(config, nil), doctor.Options{})
		assert.True(t, r.Healthy, "a suspicion alone is no fault")
		says(t, r, doctor.StepPath, true, "Suspicion (inferred): the certificate differs between two handshakes", "every machine")
	})
}
