package token

import (
	"context"
	"crypto"
	"fmt"
	"io"
)

// signer is the private key of an identity. It finds the token open, or not, at
// each signature, so that an identity outlives any session.
type signer struct {
	source *Source
	public crypto.PublicKey
}

// Public is the public half of the key.
func (s signer) Public() crypto.PublicKey { return s.public }

// Sign lets the token sign.
func (s signer) Sign(_ io.Reader, digest []byte, options crypto.SignerOpts) ([]byte, error) {
	signature, err := s.source.token.sign(context.Background(), s.public, digest, options) // crypto.Signer has no context
	if err != nil {
		return nil, fmt.Errorf("client identity %q: the token did not sign: %w", s.source.name, err)
	}
	return signature, nil
}
