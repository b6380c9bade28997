package token

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"

	"github.com/handfast/handfast/pkg/mtls"
)

// signAttempts is how often one signature is tried: again when the session had
// ended, and once more when a restart ended the next one, too.
const signAttempts = 3

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
	signature, err := s.sign(context.Background(), digest, options) // crypto.Signer has no context
	if err != nil {
		return nil, fmt.Errorf("client identity %q: the token did not sign: %w", s.source.name, err)
	}
	return signature, nil
}

func (s signer) sign(ctx context.Context, digest []byte, options crypto.SignerOpts) (signature []byte, err error) {
	for range signAttempts {
		d, failed := s.source.reopen(ctx)
		switch {
		case failed != nil:
			return nil, fmt.Errorf("%w: %w", mtls.ErrNoIdentity, failed)
		case !samePublic(s.public, d.public):
			return nil, fmt.Errorf("%w: %s holds another key under this name now", mtls.ErrNoIdentity, s.source.config.tokenName())
		}
		signature, err = within(ctx, signTime, func() ([]byte, error) { return d.sign(digest, options) })
		if err == nil {
			return signature, nil
		}
		s.source.doubt(ctx, d, err)
		if !errors.Is(err, errLost) {
			return nil, err
		}
	}
	return nil, err
}
