package token

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/handfast/handfast/pkg/mtls"
)

// KeyKind is a kind of key that [Create] makes.
type KeyKind int

// The kinds. The zero value is none of them.
const (
	// ECDSAP256 is the choice for everything that does not insist on RSA: the smallest and fastest.
	ECDSAP256 KeyKind = iota + 1
	// ECDSAP384 is for those whom a rule obliges to it.
	ECDSAP384
	// RSA3072 is for receivers that know nothing else.
	RSA3072
)

// createTime is for the slowest thing that a token does: smart cards take a
// minute for an RSA key.
const createTime = 2 * time.Minute

// Create makes a private key in the token, one that cannot be read out, and
// returns a certificate signing request for it (PKCS#10 in PEM, RFC 2986), for
// the receiver's or another CA. Of the request only the names are used. The key
// is called what config says; one that is there already is never replaced, and
// none is left behind when the request cannot be made.
//
// The error is a [*ConfigError], matches [ErrWithoutCgo], or says what the token said.
func Create(ctx context.Context, config Config, kind KeyKind, request *x509.CertificateRequest) ([]byte, error) {
	if kind < ECDSAP256 || kind > RSA3072 {
		return nil, &ConfigError{Problems: []string{"the kind of key is not one of ECDSAP256, ECDSAP384, RSA3072"}}
	}
	if request == nil {
		return nil, &ConfigError{Problems: []string{"the request says nothing: at least a name is needed"}}
	}
	return use(ctx, config, func(c Config, p pin) (*device, error) { return createKey(c, p, kind) },
		func(d *device) ([]byte, error) {
			text, err := requestPEM(d, request)
			if err != nil {
				return nil, errors.Join(err, d.remove())
			}
			return text, nil
		})
}

// Request returns another certificate signing request for the key that is in the
// token already, to renew a certificate without a new key.
func Request(ctx context.Context, config Config, request *x509.CertificateRequest) ([]byte, error) {
	if request == nil {
		return nil, &ConfigError{Problems: []string{"the request says nothing: at least a name is needed"}}
	}
	return use(ctx, config, openDevice, func(d *device) ([]byte, error) { return requestPEM(d, request) })
}

// Store checks that a certificate chain belongs to the key in the token and can
// be a client identity at the time now, as [mtls.NewSignerIdentity] does, and
// writes the leaf into the token in place of the certificate that was there. A
// token keeps no order of certificates: a chain with intermediates that the
// receiver needs goes into a file.
func Store(ctx context.Context, config Config, name string, certificatePEM []byte, now time.Time) (*mtls.Identity, error) {
	return use(ctx, config, openDevice, func(d *device) (*mtls.Identity, error) {
		identity, err := mtls.NewSignerIdentity(name, certificatePEM, deviceSigner{d}, now)
		if err != nil {
			return nil, err
		}
		return identity, d.store(identity.Leaf())
	})
}

// use opens a token for one piece of work.
func use[T any](ctx context.Context, config Config, open opener, work func(*device) (T, error)) (T, error) {
	var none T
	if err := config.Validate(); err != nil {
		return none, err
	}
	secret, err := config.PIN.read()
	if err != nil {
		return none, fmt.Errorf("%s: %w", config.tokenName(), err)
	}
	return within(ctx, createTime, func() (T, error) {
		d, err := open(config, secret)
		if err != nil {
			return none, err
		}
		defer d.close()
		return work(d)
	})
}

func requestPEM(d *device, request *x509.CertificateRequest) ([]byte, error) {
	template := *request
	template.SignatureAlgorithm = x509.UnknownSignatureAlgorithm // whatever fits the key
	der, err := x509.CreateCertificateRequest(rand.Reader, &template, deviceSigner{d})
	if err != nil {
		return nil, fmt.Errorf("the certificate signing request cannot be made: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}

// deviceSigner signs with a device as long as that is open.
type deviceSigner struct{ device *device }

func (s deviceSigner) Public() crypto.PublicKey { return s.device.public }

func (s deviceSigner) Sign(_ io.Reader, digest []byte, options crypto.SignerOpts) ([]byte, error) {
	return s.device.sign(digest, options)
}
