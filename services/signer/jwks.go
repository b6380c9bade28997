package signer

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
)

const (
	// publicAge is for how long receivers may keep what they have read. A key that is made ready with
	// `handfast key create` is known everywhere after that time.
	publicAge = "max-age=300"
	// staleAge is for how long public keys are shown while the bucket cannot be followed: a key that was revoked in the
	// meantime must not be shown for ever.
	staleAge = 5 * time.Minute
	// maxPublished bounds the document of all keys: a few megabytes.
	maxPublished = 10_000
)

// jwk is a public key in the form of RFC 7517; RFC 8037 for Ed25519, RFC 7518 section 6.2 for ECDSA.
type jwk struct {
	Type      string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	Y         string `json:"y,omitempty"`
	ID        string `json:"kid"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
}

// publicKey is one public key of one endpoint as its receiver sees it.
type publicKey struct {
	ID       string     `json:"id"`
	Scheme   string     `json:"scheme"`
	State    string     `json:"state"`
	Created  time.Time  `json:"created,omitzero"`
	NotAfter *time.Time `json:"not_after,omitempty"`
	Public   string     `json:"public"`

	jwk  jwk
	over func(time.Time) bool
}

// published is what the world may know of the keys: every public key that signs, or will.
type published struct {
	mu      sync.Mutex
	loaded  bool
	version uint64
	keys    map[endpoint.Key][]publicKey
	all     []byte    // the document of all keys, nil when it has to be made anew
	until   time.Time // when a key in it ends; zero for never
}

// ServeJWKS answers with every public key, in the form of RFC 7517: those that sign, and those that will, under the key
// ids that stand in signatures and receipts. Shared secrets are not in it, nor anything about whose keys they are. The
// answer may be cached. It needs no authentication, and does none.
func (k *Keyring) ServeJWKS(w http.ResponseWriter, r *http.Request) {
	p := &k.published
	p.mu.Lock()
	if !p.refresh(k, time.Now()) {
		p.mu.Unlock()
		notYet(w)
		return
	}
	body := p.all
	p.mu.Unlock()
	if body == nil {
		http.Error(w, "there are too many keys for one document; ask for those of one endpoint at /keys/TENANT/ENDPOINT", http.StatusServiceUnavailable)
		return
	}
	answer(w, r, "application/jwk-set+json", body)
}

// ServeKeys answers with the public keys of the endpoint that the path names in {tenant} and {endpoint}, each as its scheme
// writes it (whpk_… for v1a), with states and dates. An endpoint without one is not found, whether it exists or not.
func (k *Keyring) ServeKeys(w http.ResponseWriter, r *http.Request) {
	key, err := endpoint.ParseKey(r.PathValue("tenant") + "/" + r.PathValue("endpoint"))
	p := &k.published
	p.mu.Lock()
	loaded := p.refresh(k, time.Now())
	known := p.keys[key]
	p.mu.Unlock()
	if !loaded {
		notYet(w)
		return
	}
	shown := alive(known, time.Now())
	if err != nil || len(shown) == 0 {
		http.Error(w, "no endpoint of this name has public keys", http.StatusNotFound)
		return
	}
	body, err := json.Marshal(struct {
		Endpoint string      `json:"endpoint"`
		Keys     []publicKey `json:"keys"`
	}{key.String(), shown})
	if err != nil { // cannot happen: texts and times
		http.Error(w, "the keys cannot be written", http.StatusInternalServerError)
		return
	}
	answer(w, r, "application/json", append(body, '\n'))
}

// refresh brings what is published up to date, and tells whether it may be shown. It is called with the lock held.
func (p *published) refresh(k *Keyring, now time.Time) bool {
	version, whole, left := k.view.state()
	if whole && (!p.loaded || version != p.version) {
		rings, version := k.view.all()
		whole = rings != nil
		if whole {
			p.take(rings, version, now)
		}
	}
	if !whole && (!p.loaded || now.Sub(left) > staleAge) {
		return false
	}
	if !p.until.IsZero() && now.After(p.until) {
		p.write(now)
	}
	return true
}

func (p *published) take(rings map[endpoint.Key]opened, version uint64, now time.Time) {
	p.loaded, p.version, p.keys = true, version, make(map[endpoint.Key][]publicKey, len(rings))
	for key, held := range rings {
		if public := publicKeys(held.ring); len(public) > 0 {
			p.keys[key] = public
		}
	}
	p.write(now)
}

// write makes the document of all keys.
func (p *published) write(now time.Time) {
	set := struct {
		Keys []jwk `json:"keys"`
	}{Keys: []jwk{}}
	p.all, p.until = nil, time.Time{}
	for _, keys := range p.keys {
		for _, key := range alive(keys, now) {
			set.Keys = append(set.Keys, key.jwk)
			if end := key.NotAfter; end != nil && (p.until.IsZero() || end.Before(p.until)) {
				p.until = *end
			}
		}
	}
	if len(set.Keys) > maxPublished {
		return
	}
	// By id, which is random: the order tells nothing about which keys belong together.
	slices.SortFunc(set.Keys, func(a, b jwk) int { return strings.Compare(a.ID, b.ID) })
	if body, err := json.Marshal(set); err == nil { // it cannot fail: texts
		p.all = body
	}
}

func publicKeys(ring signature.Ring) []publicKey {
	var all []publicKey
	for _, k := range ring.Keys() {
		public, ok := jwkOf(k.ID, k.PublicKey())
		if !ok {
			continue
		}
		shown := publicKey{
			ID: k.ID, Scheme: k.Scheme, State: k.State.String(), Created: k.Created.UTC(), Public: k.Public(), jwk: public, over: k.Over,
		}
		if !k.NotAfter.IsZero() {
			end := k.NotAfter.UTC()
			shown.NotAfter = &end
		}
		all = append(all, shown)
	}
	return all
}

// alive leaves out what has ended.
func alive(keys []publicKey, now time.Time) []publicKey {
	var left []publicKey
	for _, key := range keys {
		if !key.over(now) {
			left = append(left, key)
		}
	}
	return left
}

// jwkOf writes a public key, and false for what it does not know: a shared secret above all.
func jwkOf(id string, public crypto.PublicKey) (jwk, bool) {
	encode := base64.RawURLEncoding.EncodeToString
	switch key := public.(type) {
	case ed25519.PublicKey:
		return jwk{Type: "OKP", Curve: "Ed25519", X: encode(key), ID: id, Use: "sig", Algorithm: "EdDSA"}, true
	case *ecdsa.PublicKey:
		point, err := key.Bytes() // 4, x, y (SEC 1, section 2.3.3)
		if err != nil || key.Curve != elliptic.P256() {
			return jwk{}, false
		}
		x, y := point[1:1+(len(point)-1)/2], point[1+(len(point)-1)/2:]
		return jwk{Type: "EC", Curve: "P-256", X: encode(x), Y: encode(y), ID: id, Use: "sig", Algorithm: "ES256"}, true
	}
	return jwk{}, false
}

// notYet asks to come back: an empty list would be taken for the truth, and kept.
func notYet(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Retry-After", "1")
	http.Error(w, "the signing keys cannot be read at the moment; keep what you have, and ask again", http.StatusServiceUnavailable)
}

// answer writes a document that may be kept, or that whoever asks has it already.
func answer(w http.ResponseWriter, r *http.Request, kind string, body []byte) {
	answerFor(w, r, kind, publicAge, body)
}

// answerFor is answer with another time for which the document may be kept.
func answerFor(w http.ResponseWriter, r *http.Request, kind, age string, body []byte) {
	sum := sha256.Sum256(body)
	header := w.Header()
	header.Set("Content-Type", kind)
	header.Set("Cache-Control", age)
	header.Set("ETag", `"`+hex.EncodeToString(sum[:16])+`"`)
	header.Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// ServeJWKS is [Keyring.ServeJWKS] of this signer's keys.
func (s *Signer) ServeJWKS(w http.ResponseWriter, r *http.Request) { s.keyring.ServeJWKS(w, r) }

// ServeKeys is [Keyring.ServeKeys] of this signer's keys.
func (s *Signer) ServeKeys(w http.ResponseWriter, r *http.Request) { s.keyring.ServeKeys(w, r) }
