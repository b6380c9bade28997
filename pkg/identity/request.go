package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"net/url"
	"time"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/seal"
)

// Request makes an identity whose certificate a receiver's own CA shall issue: a
// new key, which never leaves unsealed, and a certificate signing request
// ([Record.RequestPEM]). The profile needs an alternative name; its lifetime is
// that CA's business and not used. The error is a [*RefusedError].
func Request(name string, profile Profile, vault seal.Vault, now time.Time) (Record, error) {
	profile = profile.complete()
	profile.Lifetime = 0
	wrong := profile.problems()
	wrong.take(CheckName(name))
	if err := wrong.refuse(identityLabel(name), "requested"); err != nil {
		return Record{}, err
	}
	r := Record{Name: name, Origin: Requested, State: Pending, Profile: profile, Created: stamp(now)}
	return r.newRequest(vault, now)
}

// RequestSuccessor makes a new key and a request for it beside the certificate in
// use, which stays in use until the answer is installed. The error is a
// [*RefusedError]: our own authority renews this identity, it has retired, or a
// request waits already (see [Record.Withdraw]).
func (r Record) RequestSuccessor(vault seal.Vault, now time.Time) (Record, error) {
	var wrong problems
	if r.Origin == FromAuthority {
		wrong.addf("authority %q renews it without being asked", r.Authority)
	}
	if r.State == Retired {
		wrong.addf("it was retired on %s", utc(r.Retired))
	}
	if r.next != nil {
		wrong.addf("the request of %s waits for its certificate: install that, or withdraw the request first", utc(r.Requested))
	}
	if r.Origin != FromAuthority && len(r.Profile.Names()) == 0 {
		wrong.addf("its certificate has no alternative name that a request could ask for: make a new identity by a request")
	}
	if err := wrong.refuse(identityLabel(r.Name), "requested again"); err != nil {
		return Record{}, err
	}
	return r.newRequest(vault, now)
}

// Withdraw returns the record without the request that waits, and without its
// key: a certificate for it can no longer be installed. The error is a
// [*RefusedError] if none waits beside a certificate in use.
func (r Record) Withdraw() (Record, error) {
	var wrong problems
	switch {
	case r.next == nil:
		wrong.addf("no request waits")
	case r.State == Pending:
		wrong.addf("nothing would be left of it: retire or remove the identity")
	}
	r.next, r.request, r.Requested = nil, "", time.Time{}
	if err := wrong.refuse("the request of "+identityLabel(r.Name), "withdrawn"); err != nil {
		return Record{}, err
	}
	return r, nil
}

func (r Record) newRequest(vault seal.Vault, now time.Time) (Record, error) {
	key, err := newKey()
	if err == nil {
		r.request, err = signRequest(r.Profile, key)
	}
	if err == nil {
		r.next, err = sealKey(vault, r.Key(), key)
	}
	if err != nil {
		return Record{}, refuseFor(err, identityLabel(r.Name), "requested")
	}
	r.Requested = stamp(now)
	return r, nil
}

// signRequest writes the PKCS #10 request. It asks for clientAuth by name,
// because many CAs copy what was asked for and give a server's usage else.
func signRequest(p Profile, key *ecdsa.PrivateKey) (string, error) {
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: p.CommonName}, DNSNames: p.DNSNames}
	if p.Organization != "" {
		template.Subject.Organization = []string{p.Organization}
	}
	for _, text := range p.URIs {
		u, err := url.Parse(text)
		if err != nil {
			return "", fmt.Errorf("%q is not a URI: %w", text, err)
		}
		template.URIs = append(template.URIs, u)
	}
	clientAuth, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 2}}) // RFC 5280 section 4.2.1.12
	if err != nil {
		return "", fmt.Errorf("write the extended key usage: %w", err)
	}
	template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: clientAuth}}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return "", fmt.Errorf("sign the request: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: requestBlock, Bytes: der})), nil
}

// Install takes the certificate that a CA returned, with its intermediates in any
// order, into use. It may answer the request that waits, or be a new certificate
// for the key in use. The error is a [*RefusedError] with everything that is
// wrong: made for another key, a chain that does not fit together, not for client
// authentication, a name missing that was asked for, expired or not valid yet.
func (r Record) Install(certificatePEM []byte, vault seal.Vault, now time.Time) (Record, error) {
	const act = "given this certificate"
	what := identityLabel(r.Name)
	if err := r.installable().refuse(what, act); err != nil {
		return Record{}, err
	}
	key, answers := r.keyFor(certificatePEM)
	keyPEM, err := key.open(vault, r.Key())
	if err != nil {
		return Record{}, refuseFor(err, what, act)
	}
	defer clear(keyPEM)
	var wrong problems
	i, err := mtls.NewIdentity(r.Name, certificatePEM, keyPEM, now)
	wrong.take(err)
	if leaf := likelyLeaf(certificatePEM); leaf != nil {
		wrong = append(wrong, r.Profile.missing(leaf)...)
	}
	if err := wrong.refuse(what, act); err != nil {
		return Record{}, err
	}
	if r, err = r.with(i, vault, now); err != nil {
		return Record{}, refuseFor(err, what, act)
	}
	if answers {
		r.next, r.request, r.Requested = nil, "", time.Time{}
	}
	return r, nil
}

func (r Record) installable() (wrong problems) {
	switch {
	case r.State == Retired:
		wrong.addf("it was retired on %s: make a new identity", utc(r.Retired))
	case r.Origin == FromAuthority:
		wrong.addf("authority %q issues its certificates: import this one, with its key, as another identity", r.Authority)
	}
	return wrong
}

// keyFor picks the key that the certificate was made for, and tells whether that
// is the key of the request that waits. When it fits neither, the key of the
// request is taken, for the words about it.
func (r Record) keyFor(certificatePEM []byte) (key sealedKey, answers bool) {
	if r.next == nil {
		return r.key, false
	}
	if r.key == nil {
		return r.next, true
	}
	certificates := parsePEM(certificatePEM)
	if request, err := authority.ParseRequest([]byte(r.request)); err == nil && madeFor(certificates, request.PublicKey) {
		return r.next, true
	}
	if madeFor(certificates, r.chain.leaf.PublicKey) {
		return r.key, false
	}
	return r.next, true
}

func madeFor(certificates []*x509.Certificate, key crypto.PublicKey) bool {
	for _, c := range certificates {
		if k, ok := c.PublicKey.(interface{ Equal(x crypto.PublicKey) bool }); ok && k.Equal(key) {
			return true
		}
	}
	return false
}

// likelyLeaf is the certificate that is no CA, whose names are looked at even if
// it was made for another key.
func likelyLeaf(certificatePEM []byte) *x509.Certificate {
	for _, c := range parsePEM(certificatePEM) {
		if !c.IsCA {
			return c
		}
	}
	return nil
}

// parsePEM returns what certificates there are; what else there is and why is
// told by mtls.NewIdentity.
func parsePEM(text []byte) (certificates []*x509.Certificate) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == certificateBlock {
			certificates = append(certificates, c)
		}
	}
	return certificates
}
