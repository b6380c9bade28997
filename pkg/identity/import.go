package identity

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/seal"
)

// maxPKCS12, in bytes, is more than a chain of large certificates takes.
const maxPKCS12 = 1 << 20

// ImportPEM takes a certificate chain and its private key from PEM, which may be
// one and the same text. A chain in the wrong order is repaired. The names of the
// certificate become the profile, so that its successor is held to them.
//
// The error is a [*RefusedError] with everything that is wrong: another one's
// key, expired, not valid yet, not for client authentication, a weak key. See
// [Record.Warnings] for what is allowed and yet worth knowing.
func ImportPEM(name string, certificatePEM, keyPEM []byte, vault seal.Vault, now time.Time) (Record, error) {
	var wrong problems
	wrong.take(CheckName(name))
	i, err := mtls.NewIdentity(name, certificatePEM, keyPEM, now)
	wrong.take(err)
	if err := wrong.refuse(identityLabel(name), "imported"); err != nil {
		return Record{}, err
	}
	r := Record{Name: name, Origin: Imported, Profile: profileOf(i.Leaf()), Created: stamp(now)}
	if r, err = r.with(i, vault, now); err != nil {
		return Record{}, refuseFor(err, identityLabel(name), "imported")
	}
	return r, nil
}

// ImportPKCS12 is [ImportPEM] for a PKCS #12 file (.p12, .pfx; RFC 7292) and its
// password. The file has to hold one private key. Its author chooses how much
// work the password takes to check, so read files of people that you know.
func ImportPKCS12(name string, file []byte, password string, vault seal.Vault, now time.Time) (Record, error) {
	certificatePEM, keyPEM, err := readPKCS12(file, password)
	if err != nil {
		var wrong problems
		wrong.take(CheckName(name))
		wrong.take(err)
		return Record{}, wrong.refuse(identityLabel(name), "imported")
	}
	defer clear(keyPEM)
	return ImportPEM(name, certificatePEM, keyPEM, vault, now)
}

func readPKCS12(file []byte, password string) (certificatePEM, keyPEM []byte, err error) {
	if len(file) > maxPKCS12 {
		return nil, nil, fmt.Errorf("the PKCS #12 file is larger than %d bytes", maxPKCS12)
	}
	if bytes.HasPrefix(bytes.TrimSpace(file), []byte("-----BEGIN ")) {
		return nil, nil, errors.New("the file is PEM, not PKCS #12: give certificate and key as PEM")
	}
	key, leaf, issuers, err := pkcs12.DecodeChain(file, password)
	if err != nil {
		return nil, nil, pkcs12Problem(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("a private key of kind %T cannot be used: ask for ECDSA P-256", key)
	}
	defer clear(der)
	var text bytes.Buffer
	for _, c := range append([]*x509.Certificate{leaf}, issuers...) {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: c.Raw}))
	}
	return text.Bytes(), pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), nil
}

// pkcs12Problem quotes no parser's error: it read what the password had opened.
func pkcs12Problem(err error) error {
	switch unknown, isUnknown := errors.AsType[pkcs12.NotImplementedError](err); {
	case errors.Is(err, pkcs12.ErrIncorrectPassword), errors.Is(err, pkcs12.ErrDecryption):
		return errors.New("the password does not open the PKCS #12 file")
	case isUnknown:
		return fmt.Errorf("the PKCS #12 file uses what this program does not know (%w): write it again with openssl pkcs12 -export", unknown)
	default:
		return errors.New("the PKCS #12 file cannot be read: it is damaged, or does not hold one private key with its certificate")
	}
}
