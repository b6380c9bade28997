package custody

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/handfast/handfast/pkg/mtls/token"
)

const (
	prefix = "token:"
	// maxKeys bounds how many keys are held open. Each has sessions of its own.
	maxKeys = 256
	// scalarSize is the length of r and of s on P-256, in bytes.
	scalarSize = 32
)

// errClosed answers after [Tokens.Close].
var errClosed = errors.New("the signer is stopping")

// Tokens signs with keys in tokens, and opens each when it is first needed. It is
// the signature.Custody of a signer, and may be used by any number of goroutines.
type Tokens struct {
	modules []string
	logger  *slog.Logger

	mu     sync.Mutex // guards keys and closed
	keys   map[string]*token.Key
	closed bool
}

// New returns a custody that loads the modules and no others; none are loaded yet.
func New(modules []string, logger *slog.Logger) *Tokens {
	return &Tokens{modules: slices.Clone(modules), logger: logger, keys: map[string]*token.Key{}}
}

// CheckModule says what is wrong with the path of a module.
func CheckModule(path string) error {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return fmt.Errorf("%q is not the absolute path of a PKCS#11 library", path)
	}
	return nil
}

// Place is how a ring names a key in a token, from the PKCS#11 URI of it. The error
// says everything that is wrong with the URI.
func Place(uri string) (string, error) {
	config, err := token.ParseURI(uri)
	if err != nil {
		return "", err //nolint:wrapcheck // says what and what to do
	}
	if config.Certificate != "" {
		return "", errors.New("certificate has no place here: a key that signs messages has none")
	}
	return prefix + config.URI(), nil
}

// Sign is a signature of a message by the key at a place: 64 bytes of Ed25519, or r
// and s of ECDSA on P-256 with SHA-256. The error says why there is none.
func (t *Tokens) Sign(ctx context.Context, place string, message []byte) ([]byte, error) {
	key, err := t.key(place)
	if err != nil {
		return nil, err
	}
	return Sign(ctx, key, message)
}

// Public is the public half of the key at a place.
func (t *Tokens) Public(ctx context.Context, place string) (crypto.PublicKey, error) {
	key, err := t.key(place)
	if err != nil {
		return nil, err
	}
	return key.Public(ctx) //nolint:wrapcheck // says what and where already
}

// Sign is [Tokens.Sign] by a key.
func Sign(ctx context.Context, key *token.Key, message []byte) ([]byte, error) {
	public, err := key.Public(ctx)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what and where already
	}
	switch public := public.(type) {
	case ed25519.PublicKey:
		return key.Sign(ctx, message, crypto.Hash(0)) //nolint:wrapcheck // as above
	case *ecdsa.PublicKey:
		if public.Curve == elliptic.P256() {
			digest := sha256.Sum256(message)
			der, err := key.Sign(ctx, digest[:], crypto.SHA256)
			if err != nil {
				return nil, err //nolint:wrapcheck // as above
			}
			return scalars(der)
		}
	}
	return nil, errors.New("the key in the token is neither Ed25519 nor ECDSA on P-256, so no scheme signs with it")
}

// scalars writes a signature that comes as ASN.1 (RFC 3279 section 2.2.3) as RFC
// 9421 section 3.3.4 has it.
func scalars(der []byte) ([]byte, error) {
	var pair struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &pair)
	if err != nil || len(rest) > 0 || outside(pair.R) || outside(pair.S) {
		return nil, errors.New("what the token gave is no ECDSA signature")
	}
	raw := make([]byte, 2*scalarSize)
	pair.R.FillBytes(raw[:scalarSize])
	pair.S.FillBytes(raw[scalarSize:])
	return raw, nil
}

func outside(n *big.Int) bool { return n.Sign() <= 0 || n.BitLen() > 8*scalarSize }

func (t *Tokens) key(place string) (*token.Key, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errClosed
	}
	if key := t.keys[place]; key != nil {
		return key, nil
	}
	config, err := token.ParseURI(strings.TrimPrefix(place, prefix))
	if err != nil {
		return nil, err //nolint:wrapcheck // says everything already
	}
	if !slices.Contains(t.modules, config.Module) {
		return nil, fmt.Errorf("the key is in a token behind %q, a library that this signer may not load; start every signer with --token-module %s", config.Module, config.Module)
	}
	if len(t.keys) >= maxKeys {
		return nil, fmt.Errorf("%d keys in tokens are open, and no more are opened", maxKeys)
	}
	key, err := token.NewKey(config, t.logger)
	if err != nil {
		return nil, err //nolint:wrapcheck // says everything already
	}
	t.keys[place] = key
	return key, nil
}

// Close logs out of every token, and waits 10 s at most for signatures under way.
func (t *Tokens) Close() {
	t.mu.Lock()
	keys := t.keys
	t.keys, t.closed = nil, true
	t.mu.Unlock()
	var closing sync.WaitGroup
	for _, key := range keys {
		closing.Go(key.Close)
	}
	closing.Wait()
}
