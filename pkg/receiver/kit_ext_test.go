package receiver_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	"github.com/handfast/handfast/pkg/signature"
)

// authority is a private CA for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	// usage is what the certificates are for.
	usage x509.ExtKeyUsage
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{cert: cert, key: key, pool: pool, usage: x509.ExtKeyUsageClientAuth}, nil
}

// issue makes a client certificate with these names; "//" tells a URI.
func (a *authority) issue(commonName string, names ...string) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: commonName},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{a.usage},
	}
	for _, name := range names {
		if u, err := url.Parse(name); err == nil && u.Scheme != "" {
			template.URIs = append(template.URIs, u)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// serve starts a receiver on loopback that asks for client certificates in the
// given way.
func serve(a *authority, auth tls.ClientAuthType, handler http.Handler) *httptest.Server {
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{ClientAuth: auth, ClientCAs: a.pool, MinVersion: tls.VersionTLS13}
	server.StartTLS()
	return server
}

// clientOf returns a client of the server that presents the certificates.
func clientOf(server *httptest.Server, certs ...tls.Certificate) *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
	if len(certs) > 0 {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certs[0], nil }
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}, Timeout: 10 * time.Second}
}

// newKey returns an active key and what a receiver needs to verify it.
func newKey(scheme string) (signature.Key, signature.Verifier, error) {
	key, err := signature.GenerateKey(scheme, time.Now(), rand.Reader)
	if err != nil {
		return signature.Key{}, signature.Verifier{}, err
	}
	key.State = signature.Active
	verifier, err := key.Verifier()
	return key, verifier, err
}

// signedPost is a request as a dispatcher sends it.
func signedPost(ctx context.Context, url, id string, at time.Time, body []byte, key signature.Key) (*http.Request, error) {
	ring, err := signature.NewRing(key)
	if err != nil {
		return nil, err
	}
	fields, _, err := signature.Signer{}.Sign(signature.Request{ID: id, Time: at, Body: body}, []string{key.Scheme}, ring)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for _, f := range fields {
		req.Header.Set(f.Name, f.Value)
	}
	return req, nil
}

// world is a CA, a client certificate and a key, for the example.
func world() (*authority, tls.Certificate, signature.Key, signature.Verifier, error) {
	ca, err := newAuthority()
	if err != nil {
		return nil, tls.Certificate{}, signature.Key{}, signature.Verifier{}, fmt.Errorf("make a CA: %w", err)
	}
	cert, certErr := ca.issue("sender", "webhooks.sender.example")
	key, verifier, keyErr := newKey(signature.V1)
	return ca, cert, key, verifier, errors.Join(certErr, keyErr)
}

func parseLeaf(cert tls.Certificate) (*x509.Certificate, error) {
	return x509.ParseCertificate(cert.Certificate[0])
}

// verifiedState is the state of a connection whose client passed verification.
func verifiedState(leaf *x509.Certificate) *tls.ConnectionState {
	return &tls.ConnectionState{
		HandshakeComplete: true,
		PeerCertificates:  []*x509.Certificate{leaf},
		VerifiedChains:    [][]*x509.Certificate{{leaf}},
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("inner detail") }
