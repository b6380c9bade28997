package signature

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"math/big"
	"sync"
)

const (
	hmacKeySize      = 32 // of new keys; Standard Webhooks allows 24 to 64
	seedSize         = ed25519.SeedSize
	maxSignatureSize = 64 // Ed25519, ECDSA on P-256 and HMAC-SHA512 alike
	scalarSize       = 32 // of P-256
)

// material is what a key can do. It is made of functions because the bytes that
// they close over cannot be reached by reflection: no formatter, no deep-print
// library and no failed assertion can show them, even where fmt ignores our
// methods (a Key in an unexported field). A key that stays in a token is one with
// another sign; see custodyMaterial.
type material struct {
	// sign appends the raw signature over prefix+body to dst.
	sign func(dst, prefix, body []byte) ([]byte, error)
	// match reports whether one of the raw signatures was made over prefix+body.
	match func(prefix, body []byte, signatures [][]byte) bool
	// reveal writes the secret in the format that parse reads.
	reveal func() string
	// public is empty for a shared secret.
	public publicKey
	// place is where a private key is that stays in custody, "" for one that is here.
	place string
	// wide is the same shared secret with HMAC-SHA512, where a template wants it.
	wide *material
}

// publicKey is what a receiver may know of a key pair.
type publicKey struct {
	// text is the key in its scheme's form, key the same for a program.
	text  string
	key   crypto.PublicKey
	match func(prefix, body []byte, signatures [][]byte) bool
}

// hmacKey computes MACs with one key. Setting HMAC up costs two hash blocks and
// several allocations, so states that are set up are kept and used again.
type hmacKey struct {
	secret []byte
	states sync.Pool
}

func newHMAC(algorithm func() hash.Hash, secret []byte, reveal func() string) *material {
	k := &hmacKey{secret: secret}
	k.states.New = func() any { return hmac.New(algorithm, k.secret) }
	return &material{
		sign: func(dst, prefix, body []byte) ([]byte, error) { return k.sum(dst, prefix, body), nil },
		match: func(prefix, body []byte, signatures [][]byte) bool {
			want := k.sum(nil, prefix, body)
			found := false
			for _, got := range signatures {
				found = hmac.Equal(got, want) || found
			}
			return found
		},
		reveal: reveal,
	}
}

func (k *hmacKey) sum(dst, prefix, body []byte) []byte {
	state, ok := k.states.Get().(hash.Hash)
	if !ok { // cannot happen: the pool holds what New made
		return dst
	}
	state.Write(prefix) // a hash never returns an error
	state.Write(body)
	dst = state.Sum(dst)
	state.Reset()
	k.states.Put(state)
	return dst
}

// newStandardSecret is a key of v1.
func newStandardSecret(secret []byte) *material {
	return newHMAC(sha256.New, secret, func() string { return prefixSecret + base64.StdEncoding.EncodeToString(secret) })
}

// newStandardPair is a key of v1a.
func newStandardPair(seed []byte) *material {
	// One private key for the life of the key: crypto/ed25519 keeps what it
	// derives from it.
	private := ed25519.NewKeyFromSeed(seed)
	public := ed25519PublicOf(private)
	m := newEd25519(private)
	m.reveal = func() string { return prefixPrivate + base64.StdEncoding.EncodeToString(private) }
	m.public = publicKey{text: prefixPublic + base64.StdEncoding.EncodeToString(public), key: public, match: m.match}
	return m
}

// newEd25519 leaves reveal and public to the scheme, because each writes keys in
// its own form.
func newEd25519(private ed25519.PrivateKey) *material {
	var whole contents
	return &material{
		sign: func(dst, prefix, body []byte) ([]byte, error) {
			whole.with(prefix, body, func(content []byte) { dst = append(dst, ed25519.Sign(private, content)...) })
			return dst, nil
		},
		match: matchEd25519(ed25519PublicOf(private)),
	}
}

func ed25519PublicOf(private ed25519.PrivateKey) ed25519.PublicKey {
	return ed25519.PublicKey(private[seedSize:])
}

func matchEd25519(public ed25519.PublicKey) func(prefix, body []byte, signatures [][]byte) bool {
	return func(prefix, body []byte, signatures [][]byte) bool {
		content := join(prefix, body)
		for _, s := range signatures {
			if len(s) == ed25519.SignatureSize && ed25519.Verify(public, content, s) {
				return true
			}
		}
		return false
	}
}

// newECDSA leaves reveal and public to the scheme, as newEd25519 does. The
// signature is r and s, 32 bytes each (RFC 9421 section 3.3.4), not ASN.1.
func newECDSA(private *ecdsa.PrivateKey) *material {
	return &material{
		sign: func(dst, prefix, body []byte) ([]byte, error) {
			sum := sha256Of(prefix, body)
			r, s, err := ecdsa.Sign(rand.Reader, private, sum[:])
			if err != nil {
				return nil, fmt.Errorf("sign with ECDSA: %w", err)
			}
			var raw [2 * scalarSize]byte
			r.FillBytes(raw[:scalarSize])
			s.FillBytes(raw[scalarSize:])
			return append(dst, raw[:]...), nil
		},
		match: matchECDSA(&private.PublicKey),
	}
}

func matchECDSA(public *ecdsa.PublicKey) func(prefix, body []byte, signatures [][]byte) bool {
	return func(prefix, body []byte, signatures [][]byte) bool {
		sum := sha256Of(prefix, body)
		for _, raw := range signatures {
			if len(raw) != 2*scalarSize {
				continue
			}
			r, s := new(big.Int).SetBytes(raw[:scalarSize]), new(big.Int).SetBytes(raw[scalarSize:])
			if ecdsa.Verify(public, sum[:], r, s) {
				return true
			}
		}
		return false
	}
}

func sha256Of(prefix, body []byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	h.Write(prefix)
	h.Write(body)
	h.Sum(sum[:0])
	return sum
}

// join is needed because pure Ed25519 reads the content twice.
func join(prefix, body []byte) []byte {
	content := make([]byte, 0, len(prefix)+len(body))
	return append(append(content, prefix...), body...)
}
