package signature

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"sync"
)

const (
	hmacKeySize      = 32 // of new keys; Standard Webhooks allows 24 to 64
	seedSize         = ed25519.SeedSize
	maxSignatureSize = ed25519.SignatureSize
)

// material is what a key can do. It is made of functions because the bytes that
// they close over cannot be reached by reflection: no formatter, no deep-print
// library and no failed assertion can show them, even where fmt ignores our
// methods (a Key in an unexported field). A key in a token fits in as well.
type material struct {
	// sign appends the raw signature over prefix+body to dst.
	sign func(dst, prefix, body []byte) ([]byte, error)
	// match reports whether one of the raw signatures was made over prefix+body.
	match func(prefix, body []byte, signatures [][]byte) bool
	// reveal writes the secret in the format that parse reads.
	reveal func() string
	// public is the public key in text, "" for a shared secret.
	public string
}

// hmacKey computes MACs with one key. Setting HMAC up costs two hash blocks and
// several allocations, so states that are set up are kept and used again.
type hmacKey struct {
	secret []byte
	states sync.Pool
}

func newHMAC(secret []byte) *material {
	k := &hmacKey{secret: secret}
	k.states.New = func() any { return hmac.New(sha256.New, k.secret) }
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
		reveal: func() string { return prefixSecret + base64.StdEncoding.EncodeToString(k.secret) },
	}
}

func (k *hmacKey) sum(dst, prefix, body []byte) []byte {
	state, ok := k.states.Get().(hash.Hash)
	if !ok { // cannot happen: the pool holds what New made
		state = hmac.New(sha256.New, k.secret)
	}
	state.Write(prefix) // a hash never returns an error
	state.Write(body)
	dst = state.Sum(dst)
	state.Reset()
	k.states.Put(state)
	return dst
}

func newEd25519(seed []byte) *material {
	// One private key for the life of the key: crypto/ed25519 keeps what it
	// derives from it.
	private := ed25519.NewKeyFromSeed(seed)
	public := private[seedSize:]
	return &material{
		sign: func(dst, prefix, body []byte) ([]byte, error) {
			return append(dst, ed25519.Sign(private, join(prefix, body))...), nil
		},
		match: matchEd25519(ed25519.PublicKey(public)),
		reveal: func() string {
			return prefixPrivate + base64.StdEncoding.EncodeToString(private)
		},
		public: prefixPublic + base64.StdEncoding.EncodeToString(public),
	}
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

// join is needed because pure Ed25519 reads the content twice.
func join(prefix, body []byte) []byte {
	content := make([]byte, 0, len(prefix)+len(body))
	return append(append(content, prefix...), body...)
}
