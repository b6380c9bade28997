package mtls_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ocsp"
)

// issuer is an authority that can revoke what it has issued.
type issuer struct {
	tb          testing.TB
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	parent      *issuer // nil for a root
}

func testSerial(tb testing.TB) *big.Int {
	tb.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	require.NoError(tb, err)
	return serial
}

func newIssuer(tb testing.TB, name string, parent *issuer, lists ...string) *issuer {
	tb.Helper()
	a := &issuer{tb: tb, parent: parent}
	a.certificate, a.key = a.sign(parent, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, CRLDistributionPoints: lists,
	})
	return a
}

func (a *issuer) sign(by *issuer, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.tb, err)
	if template.SerialNumber == nil {
		template.SerialNumber = testSerial(a.tb)
	}
	if template.NotBefore.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(1000*time.Hour)
	}
	parent, parentKey := template, key
	if by != nil {
		parent, parentKey = by.certificate, by.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	require.NoError(a.tb, err)
	return mustParse(a.tb, raw), key
}

// server issues a receiver's certificate with these addresses of lists, and its chain without the root.
func (a *issuer) server(alter func(*x509.Certificate), lists ...string) tls.Certificate {
	a.tb.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: receiverName}, DNSNames: []string{receiverName}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, CRLDistributionPoints: lists,
	}
	if alter != nil {
		alter(template)
	}
	leaf, key := a.sign(a, template)
	out := tls.Certificate{Leaf: leaf, PrivateKey: key, Certificate: [][]byte{leaf.Raw}}
	for up := a; up.parent != nil; up = up.parent {
		out.Certificate = append(out.Certificate, up.certificate.Raw)
	}
	return out
}

// responder issues a certificate for signing OCSP responses, or for something else.
func (a *issuer) responder(alter func(*x509.Certificate)) *issuer {
	a.tb.Helper()
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "responder"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}}
	if alter != nil {
		alter(template)
	}
	out := &issuer{tb: a.tb, parent: a}
	out.certificate, out.key = a.sign(a, template)
	return out
}

// mustStaple is a template's demand for a staple (RFC 7633).
func mustStaple(c *x509.Certificate) {
	value, _ := asn1.Marshal([]int{5})
	c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: value})
}

// crl is a list that was made an hour ago and counts for a day, changed at will.
func (a *issuer) crl(alter func(*x509.RevocationList), revoked ...*x509.Certificate) []byte {
	a.tb.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(24 * time.Hour)}
	for _, c := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: c.SerialNumber, RevocationTime: time.Now().Add(-2 * time.Hour), ReasonCode: 1,
		})
	}
	if alter != nil {
		alter(list)
	}
	raw, err := x509.CreateRevocationList(rand.Reader, list, a.certificate, a.key)
	require.NoError(a.tb, err)
	return raw
}

// staple is a response that says good, changed at will, signed by the issuer or by a responder.
func (a *issuer) staple(by *issuer, of *x509.Certificate, alter func(*ocsp.Response)) []byte {
	a.tb.Helper()
	response := ocsp.Response{
		Status: ocsp.Good, SerialNumber: of.SerialNumber, ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(24 * time.Hour),
	}
	if by != a {
		response.Certificate = by.certificate
	}
	if alter != nil {
		alter(&response)
	}
	raw, err := ocsp.CreateResponse(a.certificate, by.certificate, response, by.key)
	require.NoError(a.tb, err)
	return raw
}

// issuingPoint is an extension that limits a list; each part is one DER element.
func issuingPoint(tb testing.TB, parts ...asn1.RawValue) func(*x509.RevocationList) {
	tb.Helper()
	value, err := asn1.Marshal(parts)
	require.NoError(tb, err)
	return critical(asn1.ObjectIdentifier{2, 5, 29, 28}, value)
}

func critical(id asn1.ObjectIdentifier, value []byte) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) {
		l.ExtraExtensions = append(l.ExtraExtensions, pkix.Extension{Id: id, Critical: true, Value: value})
	}
}

// tagged is a context-specific element.
func tagged(tag int, value []byte) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: value}
}

// pointName is the name of a distribution point.
func pointName(tb testing.TB, uri string) asn1.RawValue {
	tb.Helper()
	inner, err := asn1.Marshal(tagged(6, []byte(uri)))
	require.NoError(tb, err)
	full := tagged(0, inner)
	full.IsCompound = true
	raw, err := asn1.Marshal(full)
	require.NoError(tb, err)
	outer := tagged(0, raw)
	outer.IsCompound = true
	return outer
}

// crlHost serves lists on the loopback and counts who asks.
type crlHost struct {
	url   string
	mu    sync.Mutex
	pages map[string]http.HandlerFunc
	asked []string
}

func newCRLHost(tb testing.TB) *crlHost {
	tb.Helper()
	h := &crlHost{pages: make(map[string]http.HandlerFunc)}
	server := httptest.NewServer(h)
	h.url = server.URL
	tb.Cleanup(server.Close)
	return h
}

func (h *crlHost) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.asked = append(h.asked, r.URL.Path)
	page := h.pages[r.URL.Path]
	h.mu.Unlock()
	if page == nil {
		http.NotFound(w, r)
		return
	}
	page(w, r)
}

// page serves something and returns its address.
func (h *crlHost) page(path string, page http.HandlerFunc) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pages[path] = page
	return h.url + path
}

func (h *crlHost) list(path string, raw []byte) string {
	return h.page(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(raw) })
}

func (h *crlHost) requests() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.asked)
}
