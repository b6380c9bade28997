package receiver

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// unaccompanied comes without a certificate, which the pool never does: this shows that the listener of this suite
// enforces mutual TLS at all, and in which words.
func unaccompanied(t *testing.T, l listener, on terms, at running) {
	t.Helper()
	before, _ := at.app.received(t)
	said := withoutCertificate(t, on, at.address)
	if want := l.nobody(on); want != "" {
		assert.Contains(t, said, want)
	}
	requests, _ := at.app.received(t)
	assert.Equal(t, before, requests, "it let somebody in without a certificate, who was told: %s", said)
}

// withoutCertificate is what the listener says: the alert in words, "cut", or the answer's status and body.
func withoutCertificate(t *testing.T, on terms, address string) string {
	t.Helper()
	config := &tls.Config{
		ServerName: receiverName, RootCAs: on.trust.RootCAs(), MinVersion: tls.VersionTLS12, NextProtos: []string{on.protocol},
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", address)
	if err != nil {
		return ended(err)
	}
	defer conn.Close()
	// On TLS 1.3 a refusal comes after the handshake; a listener that judges by HTTP says nothing yet.
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(500*time.Millisecond)))
	var first [512]byte
	_, err = conn.Read(first[:])
	if timeout, ok := errors.AsType[net.Error](err); err != nil && (!ok || !timeout.Timeout()) {
		return ended(err)
	}
	return askedWithout(t, on, config, address)
}

func askedWithout(t *testing.T, on terms, config *tls.Config, address string) string {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(on.protocol == http1)
	protocols.SetHTTP2(on.protocol == http2)
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig: config, Protocols: protocols, DisableKeepAlives: true,
	}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, "https://"+address+"/hooks/in", http.NoBody)
	require.NoError(t, err)
	request.Host = receiverName
	response, err := client.Do(request)
	if err != nil {
		return ended(err)
	}
	defer response.Body.Close()
	var page strings.Builder
	require.NoError(t, response.Write(&page))
	return page.String()
}

// ended is the alert in an error, or "cut".
func ended(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return op.Err.Error()
	}
	return "cut: " + err.Error()
}
