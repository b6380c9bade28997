package authority

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// requestBlock and its older name are what RFC 7468 section 7 allows.
const (
	requestBlock    = "CERTIFICATE REQUEST"
	oldRequestBlock = "NEW CERTIFICATE REQUEST"
)

// Answer issues a certificate for a certificate signing request (PKCS #10, RFC
// 2986, one PEM block). It takes the public key from the request, after it has
// checked that whoever made it holds the private key, and nothing else: what the
// certificate says is the leaf's, because a request asks and does not decide.
func (a *Authority) Answer(requestPEM []byte, leaf Leaf) (certificatePEM []byte, err error) {
	request, err := ParseRequest(requestPEM)
	if err != nil {
		return nil, err
	}
	return a.Certify(request.PublicKey, leaf)
}

// ParseRequest reads the one certificate signing request of a PEM text and checks
// that it was signed with the key that it names. The error says what else the
// text holds, if that is the trouble.
func ParseRequest(text []byte) (*x509.CertificateRequest, error) {
	block, rest := pem.Decode(bytes.TrimSpace(text))
	switch {
	case block == nil:
		return nil, errors.New("the certificate signing request is not PEM: it holds no readable block \"-----BEGIN CERTIFICATE REQUEST-----\"")
	case block.Type != requestBlock && block.Type != oldRequestBlock:
		return nil, fmt.Errorf("the PEM block is of type %q: give the certificate signing request", block.Type)
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("something follows the certificate signing request: give that one block only")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the certificate signing request cannot be read: %w", err)
	}
	if err := request.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the certificate signing request is not signed with its own key, so it was changed on its way: %w", err)
	}
	return request, nil
}
