package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"time"
)

const (
	rootLifetime         = 10 * 365 * 24 * time.Hour
	intermediateLifetime = 5 * 365 * 24 * time.Hour
	leafLifetime         = 30 * 24 * time.Hour

	// backdate lets a machine whose clock is a little late accept a certificate
	// that was made this instant.
	backdate = time.Minute
)

// Authority issues certificates under one CA certificate. It never changes once
// made and may be used by any number of goroutines. However it is printed,
// logged or marshalled, its key does not appear; only [Authority.Marshal] writes
// it.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	settings    settings
}

type settings struct {
	now          func() time.Time
	lifetime     time.Duration // of leaves
	rootLifetime time.Duration
}

// Option changes a default of [New] or [Load].
type Option func(*settings)

// WithClock sets where the time comes from. The default is [time.Now].
func WithClock(now func() time.Time) Option { return func(s *settings) { s.now = now } }

// WithLeafLifetime sets how long a leaf is valid that does not say so itself.
// The default is 30 days.
func WithLeafLifetime(d time.Duration) Option { return func(s *settings) { s.lifetime = d } }

// WithRootLifetime sets how long a root made by [New] is valid. The default is
// ten years.
func WithRootLifetime(d time.Duration) Option { return func(s *settings) { s.rootLifetime = d } }

func apply(options []Option) settings {
	s := settings{now: time.Now, lifetime: leafLifetime, rootLifetime: rootLifetime}
	for _, option := range options {
		option(&s)
	}
	return s
}

// New makes a root, valid for ten years unless [WithRootLifetime] says otherwise,
// whose subject is this common name.
func New(commonName string, options ...Option) (*Authority, error) {
	s := apply(options)
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	template, err := caTemplate(commonName, s.now(), s.rootLifetime)
	if err != nil {
		return nil, err
	}
	template.MaxPathLen = 1
	certificate, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &Authority{certificate: certificate, key: key, settings: s}, nil
}

// Intermediate makes an authority below this one, valid for five years or as
// long as this one. It inherits the clock and the lifetime of leaves, and may
// issue leaves only: asked for an intermediate itself, it returns an error.
func (a *Authority) Intermediate(commonName string) (*Authority, error) {
	if a.certificate.MaxPathLenZero {
		return nil, fmt.Errorf("authority %q may issue no further intermediates: its path length is 0", a.certificate.Subject.CommonName)
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	template, err := caTemplate(commonName, a.settings.now(), intermediateLifetime)
	if err != nil {
		return nil, err
	}
	if template.NotAfter.After(a.certificate.NotAfter) {
		template.NotAfter = a.certificate.NotAfter
	}
	template.MaxPathLenZero = true
	certificate, err := sign(template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return &Authority{certificate: certificate, key: key, settings: a.settings}, nil
}

func caTemplate(commonName string, now time.Time, lifetime time.Duration) (*x509.Certificate, error) {
	if commonName == "" {
		// RFC 5280 section 4.1.2.6: a CA's subject must not be empty.
		return nil, errors.New("an authority needs a common name")
	}
	if lifetime <= 0 {
		return nil, fmt.Errorf("an authority cannot be valid for %s: give it years", lifetime)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: commonName},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(lifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}, nil
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate %q: %w", template.Subject.String(), err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read back certificate %q: %w", template.Subject.String(), err)
	}
	return certificate, nil
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return key, nil
}

// newSerial returns 126 random bits behind a fixed 01: positive, never zero and
// always 16 bytes (RFC 5280 section 4.1.2.2 allows 20).
func newSerial() (*big.Int, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	b[0] = b[0]&0x3f | 0x40
	return new(big.Int).SetBytes(b[:]), nil
}

// Certificate is the authority's own certificate. It is shared: read it only.
func (a *Authority) Certificate() *x509.Certificate { return a.certificate }

// CertificatePEM is the authority's own certificate as one PEM block: what the
// other side is given to trust.
func (a *Authority) CertificatePEM() []byte { return certificatePEM(a.certificate) }

// String names the authority without its key.
func (a *Authority) String() string {
	if a.certificate == nil {
		return "authority (none)"
	}
	return fmt.Sprintf("authority %q", a.certificate.Subject.CommonName)
}

// Format prints String for every verb, %#v included.
func (a *Authority) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, a.String()) }

// LogValue is String.
func (a *Authority) LogValue() slog.Value { return slog.StringValue(a.String()) }

// MarshalJSON writes String. To keep an authority, use [Authority.Marshal].
func (a *Authority) MarshalJSON() ([]byte, error) { return json.Marshal(a.String()) }
