package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"
)

// strangerName is what a receiver's log shows of the throw-away identity when there is no other to copy the name from.
const strangerName = "handfast-doctor-throw-away"

// stranger makes an identity that nobody issued. It carries the names of the current one, so that a receiver which looks
// at names and not at issuers (nginx with optional_no_ca, a pattern over the subject) is found out. Its key is gone when
// the examination ends.
func stranger(current *x509.Certificate, now time.Time) (Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Identity{}, fmt.Errorf("make a throw-away key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return Identity{}, fmt.Errorf("make a throw-away serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)), Subject: pkix.Name{CommonName: strangerName},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	if current != nil {
		template.RawSubject = current.RawSubject
		template.DNSNames, template.IPAddresses, template.URIs = current.DNSNames, current.IPAddresses, current.URIs
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return Identity{}, fmt.Errorf("make a throw-away certificate: %w", err)
	}
	return Identity{name: "throw-away", pair: &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}, nil
}
