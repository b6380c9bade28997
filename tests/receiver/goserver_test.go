package receiver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// goServer is net/http with crypto/tls, and a revocation list as its owner would add one.
func goServer() listener {
	return listener{
		name: "go", protocols: []string{http1, http2}, start: startGo,
		verdict: alerts{
			wrongCA: "unknown certificate authority", wrongUsage: "bad certificate",
			expired: "expired certificate", revoked: "bad certificate",
		}.verdict,
		nobody: certificateRequired,
	}
}

// certificateRequired is what a listener says that has no word of its own for a missing certificate on TLS 1.2.
func certificateRequired(on terms) string {
	if on.version == tls.VersionTLS12 {
		return "handshake failure"
	}
	return "certificate required"
}

func startGo(t *testing.T, on terms) running {
	t.Helper()
	certificate, err := tls.LoadX509KeyPair(on.file("server.pem"), on.file("server.key"))
	require.NoError(t, err)
	clients := x509.NewCertPool()
	clients.AddCert(on.clientCA.Certificate())
	app := &backend{}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(on.protocol == http1)
	protocols.SetHTTP2(on.protocol == http2)
	server := &http.Server{
		Handler: app, Protocols: protocols, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute,
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
			MinVersion: on.version, MaxVersion: on.version,
			VerifyConnection: func(cs tls.ConnectionState) error { return unlessRevoked(on.revocation, cs.PeerCertificates[0]) },
		},
	}
	l, err := (&net.ListenConfig{}).Listen(context.WithoutCancel(t.Context()), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan struct{})
	go func() { defer close(served); _ = server.ServeTLS(l, "", "") }()
	t.Cleanup(func() { _ = server.Close(); <-served })
	return running{address: l.Addr().String(), app: app}
}

var errRevoked = errors.New("the certificate is on the revocation list")

func unlessRevoked(list *x509.RevocationList, c *x509.Certificate) error {
	for _, entry := range list.RevokedCertificateEntries {
		if entry.SerialNumber.Cmp(c.SerialNumber) == 0 {
			return errRevoked
		}
	}
	return nil
}
