package signer_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/services/signer"
)

type set struct {
	Keys []map[string]string `json:"keys"`
}

// shop is a keyring that publishes, and one that changes keys.
type shop struct {
	t       *testing.T
	mux     *http.ServeMux
	writing *signer.Keyring
	end     func()
}

func newShop(t *testing.T) shop {
	t.Helper()
	js, topology := broker(t)
	v := vault(t)
	serving := open(t, js, topology, v)
	s := shop{t: t, mux: http.NewServeMux(), writing: open(t, js, topology, v)}
	s.mux.HandleFunc("GET /.well-known/jwks.json", serving.ServeJWKS)
	s.mux.HandleFunc("GET /keys/{tenant}/{endpoint}", serving.ServeKeys)
	assert.Equal(t, http.StatusServiceUnavailable, s.get("/.well-known/jwks.json").Code, "before it has read the bucket, an empty list would be a lie")
	assert.Equal(t, http.StatusServiceUnavailable, s.get("/keys/acme/orders").Code)
	ctx, cancel := context.WithCancel(t.Context())
	var following sync.WaitGroup
	following.Go(func() { serving.Follow(ctx) })
	s.end = func() { cancel(); following.Wait() }
	t.Cleanup(s.end)
	return s
}

func (s shop) get(path string, header ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	request := httptest.NewRequestWithContext(s.t.Context(), http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	recorder := httptest.NewRecorder()
	s.mux.ServeHTTP(recorder, request)
	return recorder
}

func (s shop) change(key endpoint.Key, change func(signature.Ring) (signature.Ring, error)) signature.Ring {
	s.t.Helper()
	ring, err := s.writing.Change(s.t.Context(), key, change)
	require.NoError(s.t, err)
	return ring
}

func (s shop) add(key endpoint.Key, scheme string) signature.Key {
	s.t.Helper()
	made, err := signer.NewKey(scheme)
	require.NoError(s.t, err)
	ring := s.change(key, func(before signature.Ring) (signature.Ring, error) { return before.Add(made, time.Now()) })
	held, _ := ring.Key(made.ID)
	return held
}

// published waits until the document of all keys has these ids.
func (s shop) published(want ...string) (body string) {
	s.t.Helper()
	require.EventuallyWithT(s.t, func(c *assert.CollectT) {
		answer := s.get("/.well-known/jwks.json")
		if !assert.Equal(c, http.StatusOK, answer.Code) {
			return
		}
		body = answer.Body.String()
		var got set
		require.NoError(c, json.Unmarshal([]byte(body), &got))
		found := []string{}
		for _, key := range got.Keys {
			found = append(found, key["kid"])
		}
		assert.ElementsMatch(c, want, found)
	}, 5*time.Second, 5*time.Millisecond)
	return body
}

// TestPublicKeysVerify makes keys of every kind, and verifies a signature with what is published, as a receiver would
// that knows nothing of ours.
func TestPublicKeysVerify(t *testing.T) {
	s := newShop(t)
	active := s.add(orders, signature.V1a)
	next := s.add(orders, signature.V1a)
	shared := s.add(orders, signature.V1)
	other := s.add(endpoint.Key{Tenant: "beta", Name: "all"}, signature.V1a)
	body := s.published(active.ID, next.ID, other.ID)
	for _, k := range []signature.Key{active, next, shared, other} {
		assert.NotContains(t, body, strings.TrimPrefix(strings.TrimPrefix(k.Reveal(), "whsk_"), "whsec_")[:20], "no secret")
	}
	for _, word := range []string{"acme", "orders", "beta", shared.ID} {
		assert.NotContains(t, body, word)
	}
	var got set
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	now := time.Now()
	fields, _, err := signature.Signer{}.Sign(signature.Request{ID: "msg_1", Time: now, Body: []byte("{}")}, []string{signature.V1a},
		s.change(orders, func(before signature.Ring) (signature.Ring, error) { return before, nil }))
	require.NoError(t, err)
	text, ok := strings.CutPrefix(fields[2].Value, "v1a,")
	require.True(t, ok)
	made, err := base64.StdEncoding.DecodeString(text)
	require.NoError(t, err)
	verified := ""
	for _, key := range got.Keys {
		assert.Equal(t, "OKP Ed25519 EdDSA sig", key["kty"]+" "+key["crv"]+" "+key["alg"]+" "+key["use"])
		assert.Len(t, key, 6, "nothing else, a private part least of all")
		x, err := base64.RawURLEncoding.DecodeString(key["x"])
		require.NoError(t, err)
		if ed25519.Verify(x, []byte(fields[0].Value+"."+fields[1].Value+".{}"), made) {
			verified = key["kid"]
		}
	}
	assert.Equal(t, active.ID, verified)
}

// TestOtherPublicKeys publishes an ECDSA key and an Ed25519 key of RFC 9421.
func TestOtherPublicKeys(t *testing.T) {
	s := newShop(t)
	pair, curve := s.add(orders, signature.HTTPEd25519), s.add(orders, signature.HTTPECDSA)
	shared := s.add(orders, signature.HTTPHMAC)
	var got set
	require.NoError(t, json.Unmarshal([]byte(s.published(pair.ID, curve.ID)), &got))
	public, ok := curve.PublicKey().(*ecdsa.PublicKey)
	require.True(t, ok)
	point, err := public.Bytes()
	require.NoError(t, err)
	for _, key := range got.Keys {
		if key["kid"] == pair.ID {
			assert.Equal(t, "OKP", key["kty"])
			continue
		}
		assert.Equal(t, "EC P-256 ES256 sig", key["kty"]+" "+key["crv"]+" "+key["alg"]+" "+key["use"])
		x, err := base64.RawURLEncoding.DecodeString(key["x"])
		require.NoError(t, err)
		y, err := base64.RawURLEncoding.DecodeString(key["y"])
		require.NoError(t, err)
		assert.Equal(t, point[1:], append(x, y...))
		assert.Len(t, key, 7)
	}
	body := s.get("/keys/acme/orders").Body.String()
	assert.Contains(t, body, curve.Public())
	assert.Contains(t, body, pair.Public())
	assert.NotContains(t, body, shared.ID)
}

func TestKeysOfAnEndpoint(t *testing.T) {
	s := newShop(t)
	active := s.add(orders, signature.V1a)
	next := s.add(orders, signature.V1a)
	only := s.add(endpoint.Key{Tenant: "acme", Name: "shared"}, signature.V1)
	s.published(active.ID, next.ID)
	answer := s.get("/keys/acme/orders")
	require.Equal(t, http.StatusOK, answer.Code)
	assert.JSONEq(t, `{"endpoint":"acme/orders","keys":[
		{"id":"`+active.ID+`","scheme":"v1a","state":"active","created":"`+active.Created.UTC().Format(time.RFC3339Nano)+`","public":"`+active.Public()+`"},
		{"id":"`+next.ID+`","scheme":"v1a","state":"next","created":"`+next.Created.UTC().Format(time.RFC3339Nano)+`","public":"`+next.Public()+`"}]}`, answer.Body.String())
	_, err := signature.ParsePublic(active.Public())
	require.NoError(t, err)
	for _, path := range []string{"/keys/acme/shared", "/keys/acme/none", "/keys/acme/%2e%2e", "/keys/a.b/c", "/keys/acme/orders/"} {
		answer := s.get(path)
		assert.Equal(t, http.StatusNotFound, answer.Code, path)
		assert.NotContains(t, answer.Body.String(), only.ID)
	}
}

func TestPublicKeysAreKept(t *testing.T) {
	s := newShop(t)
	first := s.add(orders, signature.V1a)
	s.published(first.ID)
	for path, kind := range map[string]string{"/.well-known/jwks.json": "application/jwk-set+json", "/keys/acme/orders": "application/json"} {
		answer := s.get(path)
		assert.Equal(t, kind, answer.Header().Get("Content-Type"))
		assert.Equal(t, "max-age=300", answer.Header().Get("Cache-Control"))
		assert.Equal(t, "nosniff", answer.Header().Get("X-Content-Type-Options"))
		tag := answer.Header().Get("ETag")
		assert.Regexp(t, `^"[0-9a-f]{32}"$`, tag)
		assert.Equal(t, tag, s.get(path).Header().Get("ETag"))
		again := s.get(path, "If-None-Match", tag)
		assert.Equal(t, http.StatusNotModified, again.Code)
		assert.Empty(t, again.Body.String())
	}
	before := s.get("/.well-known/jwks.json").Header().Get("ETag")
	s.published(first.ID, s.add(orders, signature.V1a).ID)
	answer := s.get("/.well-known/jwks.json", "If-None-Match", before)
	assert.Equal(t, http.StatusOK, answer.Code, "what has changed is sent")
}

// TestWhatIsOverIsNotPublished revokes one key, and lets another one's overlap pass without any change of the bucket.
func TestWhatIsOverIsNotPublished(t *testing.T) {
	ats.Register()
	defer ats.Unregister()
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t)
		first, second := s.add(orders, signature.V1a), s.add(orders, signature.V1a)
		synctest.Wait()
		s.published(first.ID, second.ID)
		rotate := func(before signature.Ring) (signature.Ring, error) {
			made, err := signer.NewKey(signature.V1a)
			require.NoError(t, err)
			after, _, err := before.Rotate(signature.V1a, "", made, time.Now(), time.Hour)
			return after, err
		}
		s.change(orders, rotate)
		synctest.Wait()
		s.published(first.ID, second.ID)
		assert.Contains(t, s.get("/keys/acme/orders").Body.String(), `"state":"retiring"`)
		<-time.After(time.Hour)
		s.published(first.ID, second.ID)
		<-time.After(time.Nanosecond)
		s.published(second.ID)
		assert.NotContains(t, s.get("/keys/acme/orders").Body.String(), first.ID)
		ring := s.change(orders, rotate)
		third := ring.Keys()[2].ID
		s.published(second.ID, third)
		s.change(orders, func(before signature.Ring) (signature.Ring, error) {
			after, _, err := before.Revoke(second.ID, time.Now(), nil)
			return after, err
		})
		s.published(third)
		assert.NotContains(t, s.get("/keys/acme/orders").Body.String(), second.ID)

		s.end() // the signer hears nothing any more
		assert.Equal(t, http.StatusOK, s.get("/.well-known/jwks.json").Code)
		<-time.After(5*time.Minute + 1)
		answer := s.get("/.well-known/jwks.json")
		assert.Equal(t, http.StatusServiceUnavailable, answer.Code, "it could be revoked, and nobody would know")
		assert.Equal(t, "no-store", answer.Header().Get("Cache-Control"))
		assert.Equal(t, "1", answer.Header().Get("Retry-After"))
	})
}

// TestAClosedRingPublishesNothing puts something into the bucket that does not open.
func TestAClosedRingPublishesNothing(t *testing.T) {
	js, topology := broker(t)
	keyring := open(t, js, topology, vault(t))
	ring, err := keyring.Ring(t.Context(), orders, []string{signature.V1a})
	require.NoError(t, err)
	s := shop{t: t, mux: http.NewServeMux()}
	s.mux.HandleFunc("GET /.well-known/jwks.json", keyring.ServeJWKS)
	ctx, cancel := context.WithCancel(t.Context())
	var following sync.WaitGroup
	following.Go(func() { keyring.Follow(ctx) })
	defer following.Wait()
	defer cancel()
	s.published(ring.Keys()[0].ID)
	kv, err := js.KeyValue(t.Context(), stream.SigningKeyBucket)
	require.NoError(t, err)
	_, err = kv.Put(t.Context(), stream.EndpointKey(orders, topology.Partitions), []byte("not a ring"))
	require.NoError(t, err)
	s.published()
}
