package signature_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

const place = "token:pkcs11:token=acme;object=orders?module-path=/usr/lib/p11.so&pin-source=env:PIN"

// shelf is a token: private keys by place.
type shelf map[string]crypto.Signer

var errUnplugged = errors.New("unplugged")

func (s shelf) Sign(ctx context.Context, place string, message []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	switch key := s[place].(type) {
	case ed25519.PrivateKey:
		return ed25519.Sign(key, message), nil
	case *ecdsa.PrivateKey:
		sum := sha256.Sum256(message)
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			return nil, err
		}
		raw := make([]byte, 64)
		r.FillBytes(raw[:32])
		s.FillBytes(raw[32:])
		return raw, nil
	}
	return nil, errUnplugged
}

// pairFor makes a private key of a scheme, and its public half as the scheme writes it.
func pairFor(t *testing.T, scheme string) (crypto.Signer, string) {
	t.Helper()
	var private crypto.Signer
	var err error
	if scheme == signature.HTTPECDSA {
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		_, private, err = ed25519.GenerateKey(rand.Reader)
	}
	require.NoError(t, err)
	text, err := signature.PublicText(scheme, private.Public())
	require.NoError(t, err)
	return private, text
}

func inCustody(t *testing.T, scheme, public string) signature.Key {
	t.Helper()
	k, err := signature.KeyInCustody(scheme, place, public)
	require.NoError(t, err)
	k.State = signature.Active
	return k
}

func custodyRequest() signature.Request {
	return signature.Request{
		ID: "msg_1", Time: time.Unix(vectorUnix, 0), Method: http.MethodPost, URL: "https://example.com/in",
		Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{"n":1}`),
	}
}

// verified checks what was signed by the public half alone, as a receiver does.
func verified(t *testing.T, scheme, public string, r signature.Request, fields []signature.Field) error {
	t.Helper()
	v, err := signature.ParsePublicKey(scheme, public)
	require.NoError(t, err)
	header := http.Header{"Content-Type": {r.Header.Get("Content-Type")}}
	for _, f := range fields {
		header.Set(f.Name, f.Value)
	}
	in := signature.Received{Method: r.Method, Authority: "example.com", Target: "/in", Header: header, Body: r.Body}
	_, err = signature.Verify(scheme, in, []signature.Verifier{v}, r.Time, 0)
	return err
}

func TestAKeyInCustodySigns(t *testing.T) {
	for _, scheme := range []string{signature.V1a, signature.HTTPEd25519, signature.HTTPECDSA} {
		t.Run(scheme, func(t *testing.T) {
			private, public := pairFor(t, scheme)
			vault := signature.Vault{Current: masterKey(t)}
			sealed, err := vault.Seal(ringOf(t, inCustody(t, scheme, public)), "acme/orders")
			require.NoError(t, err)
			ring, err := vault.Open("acme/orders", sealed)
			require.NoError(t, err)
			k := ring.Keys()[0]
			assert.Equal(t, place, k.Custody())
			assert.Equal(t, public, k.Public())
			assert.Empty(t, k.Reveal(), "there is nothing to reveal")
			assert.True(t, private.Public().(interface{ Equal(x crypto.PublicKey) bool }).Equal(k.PublicKey()), "for the JWKS")

			r := custodyRequest()
			_, _, err = signature.Signer{}.Sign(r, []string{scheme}, ring)
			require.ErrorIs(t, err, signature.ErrCustody, "nobody was given to ask")
			fields, used, err := signature.Signer{}.Sign(r, []string{scheme}, ring.Bind(t.Context(), shelf{place: private}))
			require.NoError(t, err)
			assert.Equal(t, []signature.Used{{Scheme: scheme, KeyID: k.ID}}, used)
			require.NoError(t, verified(t, scheme, public, r, fields))
			v, err := k.Verifier()
			require.NoError(t, err)
			assert.True(t, v.Valid())
		})
	}
}

// TestNothingSignsInThePlaceOfAToken: neither another key of the token, nor another key of the ring.
func TestNothingSignsInThePlaceOfAToken(t *testing.T) {
	for _, scheme := range []string{signature.V1a, signature.HTTPECDSA} {
		_, public := pairFor(t, scheme)
		another, _ := pairFor(t, scheme)
		ended, stop := context.WithCancel(t.Context())
		stop()
		shared := generate(t, "k1", signature.V1, signature.Active)
		beside := generate(t, "k2", scheme, signature.Active)
		ring := ringOf(t, shared, inCustody(t, scheme, public), beside)
		for words, bound := range map[string]signature.Ring{
			"unplugged":                   ring.Bind(t.Context(), shelf{}),
			"another key under this name": ring.Bind(t.Context(), shelf{place: another}),
			"context canceled":            ring.Bind(ended, shelf{place: another}),
		} {
			fields, used, err := signature.Signer{}.Sign(custodyRequest(), []string{signature.V1, scheme}, bound)
			require.ErrorIs(t, err, signature.ErrCustody)
			require.ErrorContains(t, err, words)
			assert.Empty(t, fields, "not by the scheme whose key is here, either")
			assert.Empty(t, used)
		}
	}
}

func TestKeysInCustodyAreChecked(t *testing.T) {
	_, public := pairFor(t, signature.V1a)
	_, p256 := pairFor(t, signature.HTTPECDSA)
	for _, c := range []struct{ scheme, place, public, words string }{
		{signature.V1, place, public, "shared secret"},
		{signature.Stripe, place, public, "shared secret"},
		{signature.V1a, "pkcs11:token=a", public, "token: and a PKCS#11 URI"},
		{signature.V1a, "token:", public, "token: and a PKCS#11 URI"},
		{signature.V1a, "token:pkcs11:a\n", public, "no URI has"},
		{signature.V1a, "token:pkcs11:é", public, "no URI has"},
		{signature.V1a, "token:" + strings.Repeat("a", 1<<15), public, "bytes long"},
		{signature.V1a, "token:pkcs11:token=a?PIN-value=1234", public, "pin-source"},
		{signature.V1a, place, p256, "whpk_"},
		{signature.HTTPEd25519, place, p256, "rfc9421-ecdsa"},
		{signature.HTTPECDSA, place, "", "empty"},
	} {
		_, err := signature.KeyInCustody(c.scheme, c.place, c.public)
		require.ErrorIs(t, err, signature.ErrInvalidKey, c.words)
		require.ErrorContains(t, err, c.words)
		assert.NotContains(t, err.Error(), "1234")
	}
	_, err := signature.KeyInCustody("v9", place, public)
	require.ErrorIs(t, err, signature.ErrUnknownScheme)
}

func TestRingsWithKeysInCustody(t *testing.T) {
	now := time.Unix(vectorUnix, 0)
	_, first := pairFor(t, signature.V1a)
	private, second := pairFor(t, signature.V1a)
	held := inCustody(t, signature.V1a, first)
	ring := ringOf(t, held)

	_, err := ring.Add(inCustody(t, signature.V1a, first), now)
	require.ErrorIs(t, err, signature.ErrKnownSecret, "the same key pair")
	_, sameplace := pairFor(t, signature.HTTPEd25519)
	_, err = ring.Add(inCustody(t, signature.HTTPEd25519, sameplace), now)
	require.ErrorIs(t, err, signature.ErrKnownSecret, "one key, one scheme")

	made := generate(t, "k9", signature.V1a, signature.Next)
	_, _, err = ring.Rotate(signature.V1a, "", made, now, time.Hour)
	require.ErrorIs(t, err, signature.ErrNotDecided, "a rotation does not take a key out of the token by chance")
	require.ErrorContains(t, err, "stays in a token")
	next, err := signature.KeyInCustody(signature.V1a, place+"2", second)
	require.NoError(t, err)
	ring, err = ring.Add(next, now)
	require.NoError(t, err)
	ring, fresh, err := ring.Rotate(signature.V1a, "", made, now, time.Hour)
	require.NoError(t, err)
	assert.Equal(t, next.ID, fresh.ID)
	old, _ := ring.Key(held.ID)
	assert.Equal(t, signature.Retiring, old.State)

	moved, err := signature.KeyInCustody(signature.V1a, place+"3", second)
	require.NoError(t, err)
	moved.ID = fresh.ID
	_, err = ring.Put(moved)
	require.ErrorIs(t, err, signature.ErrInvalidKey, "another place is no change of a state")
	after, same, err := ring.Moved(moved)
	require.NoError(t, err)
	assert.Equal(t, fresh.ID, same.ID)
	assert.Equal(t, place+"3", same.Custody())
	assert.Equal(t, signature.Active, same.State)
	r := custodyRequest()
	_, _, err = signature.Signer{}.Sign(r, []string{signature.V1a}, after.Bind(t.Context(), shelf{place + "3": private}))
	require.ErrorIs(t, err, signature.ErrCustody, "the retiring key signs, too, and is not there")
	ring, _, err = after.Revoke(held.ID, now, nil)
	require.NoError(t, err)
	fields, _, err := signature.Signer{}.Sign(r, []string{signature.V1a}, ring.Bind(t.Context(), shelf{place + "3": private}))
	require.NoError(t, err)
	require.NoError(t, verified(t, signature.V1a, second, r, fields))

	_, _, err = ring.Moved(inCustody(t, signature.V1a, first))
	require.ErrorIs(t, err, signature.ErrInvalidKey, "a revoked key stays")
	_, third := pairFor(t, signature.V1a)
	_, _, err = ring.Moved(inCustody(t, signature.V1a, third))
	require.ErrorIs(t, err, signature.ErrNoSuchKey)
}

// TestRecordsOfKeys reads what another version, or somebody with the master key, could have sealed.
func TestRecordsOfKeys(t *testing.T) {
	master := masterKey(t)
	_, public := pairFor(t, signature.V1a)
	for name, c := range map[string]struct {
		change map[string]string
		words  string
	}{
		"in custody":       {map[string]string{"custody": place, "public": public}, ""},
		"a secret as well": {map[string]string{"custody": place, "public": public, "secret": vectorPrivate}, "elsewhere"},
		"no public half":   {map[string]string{"custody": place}, "whpk_"},
		"no place":         {map[string]string{"public": public}, "token:"},
		"nothing at all":   {nil, "empty"},
	} {
		record := map[string]string{"id": "k1", "scheme": "v1a", "state": "active"}
		maps.Copy(record, c.change)
		plain, err := json.Marshal([]any{record})
		require.NoError(t, err)
		sealed, err := master.Seal("acme/orders", plain)
		require.NoError(t, err)
		_, err = signature.Open(master, "acme/orders", sealed)
		if c.words == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, signature.ErrInvalidKey, name)
		require.ErrorContains(t, err, c.words, name)
	}
}

func TestAKeyInCustodyPrintsNoSecret(t *testing.T) {
	private, public := pairFor(t, signature.V1a)
	key := inCustody(t, signature.V1a, public)
	ring := ringOf(t, key).Bind(t.Context(), shelf{place: private})
	seed := string(private.(ed25519.PrivateKey).Seed())
	for _, value := range []any{key, &key, ring, verifierOf(t, key)} {
		for name, text := range prints(t, value) {
			assert.NotContains(t, text, seed[:8], name)
		}
	}
	text, err := json.Marshal(ring)
	require.NoError(t, err)
	assert.JSONEq(t, `[{"id":"`+key.ID+`","scheme":"v1a","state":"active","custody":"`+strings.ReplaceAll(place, "&", `\u0026`)+`","public":"`+public+`"}]`, string(text))
	assert.Equal(t, "key "+key.ID+" (scheme v1a, active, in custody)", key.String())
}
