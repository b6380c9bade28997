package signature_test

import (
	"crypto/rand"
	"net/http"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

// The vectors of others: v1 from the official Go library's tests, v1a from the
// tests of svix-server.
const (
	vectorID      = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorUnix    = 1614265330
	vectorBody    = `{"test": 2432232314}`
	vectorSecret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	vectorPrivate = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	vectorSeed    = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc="
	vectorPublic  = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
	vectorV1      = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	vectorV1a     = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
)

func vectorRequest() signature.Request {
	return signature.Request{ID: vectorID, Time: time.Unix(vectorUnix, 0), Body: []byte(vectorBody)}
}

// parse reads a secret as an active key with a fixed id.
func parse(tb testing.TB, id, scheme, secret string) signature.Key {
	tb.Helper()
	key, err := signature.ParseSecret(scheme, secret)
	require.NoError(tb, err)
	key.ID, key.State = id, signature.Active
	return key
}

func generate(tb testing.TB, id, scheme string, state signature.State) signature.Key {
	tb.Helper()
	key, err := signature.GenerateKey(scheme, time.Unix(vectorUnix, 0), rand.Reader)
	require.NoError(tb, err)
	key.ID, key.State = id, state
	return key
}

func ringOf(tb testing.TB, keys ...signature.Key) signature.Ring {
	tb.Helper()
	ring, err := signature.NewRing(keys...)
	require.NoError(tb, err)
	return ring
}

func verifierOf(tb testing.TB, key signature.Key) signature.Verifier {
	tb.Helper()
	v, err := key.Verifier()
	require.NoError(tb, err)
	return v
}

func headerOf(fields []signature.Field) http.Header {
	h := http.Header{}
	for _, f := range fields {
		h.Add(f.Name, f.Value)
	}
	return h
}

func TestVectors(t *testing.T) {
	for _, c := range []struct{ name, scheme, secret, want string }{
		{"v1", signature.V1, vectorSecret, vectorV1},
		{"v1a seed and public key", signature.V1a, vectorPrivate, vectorV1a},
		{"v1a seed alone", signature.V1a, vectorSeed, vectorV1a},
	} {
		t.Run(c.name, func(t *testing.T) {
			key := parse(t, "k1", c.scheme, c.secret)
			fields, used, err := signature.Signer{}.Sign(vectorRequest(), []string{c.scheme}, ringOf(t, key))
			require.NoError(t, err)
			assert.Equal(t, []signature.Field{
				{Name: "webhook-id", Value: vectorID},
				{Name: "webhook-timestamp", Value: "1614265330"},
				{Name: "webhook-signature", Value: c.want, Separator: " "},
			}, fields)
			assert.Equal(t, []signature.Used{{Scheme: c.scheme, KeyID: "k1"}}, used)
		})
	}
}

func TestVectorPublicKey(t *testing.T) {
	key := parse(t, "k1", signature.V1a, vectorSeed)
	assert.Equal(t, vectorPublic, key.Public())
	assert.Equal(t, vectorPrivate, key.Reveal(), "revealed with both halves, whichever form was read")
	public, err := signature.ParsePublic(vectorPublic)
	require.NoError(t, err)
	h := http.Header{}
	h.Set("webhook-id", vectorID)
	h.Set("webhook-timestamp", "1614265330")
	h.Set("webhook-signature", vectorV1a)
	got, err := signature.VerifyStandard(h, []byte(vectorBody), []signature.Verifier{public}, time.Unix(vectorUnix+299, 0), 0)
	require.NoError(t, err)
	assert.Equal(t, signature.Verified{
		ID: vectorID, Time: time.Unix(vectorUnix, 0).UTC(), Scheme: signature.V1a, KeyID: public.KeyID(),
	}, got)
}

// TestOfficialLibraryAccepts is the independent verifier: it reads v1 out of a
// header that carries v1a and several keys as well.
func TestOfficialLibraryAccepts(t *testing.T) {
	current := generate(t, "current", signature.V1, signature.Active)
	old := generate(t, "old", signature.V1, signature.Retiring)
	pair := generate(t, "pair", signature.V1a, signature.Active)
	body := []byte("{\"a\":1}\r\n")
	request := signature.Request{ID: "msg_1", Time: time.Now(), Body: body}
	fields, _, err := signature.Signer{}.Sign(request, []string{signature.V1a, signature.V1}, ringOf(t, old, current, pair))
	require.NoError(t, err)
	for _, key := range []signature.Key{current, old} {
		theirs, err := standardwebhooks.NewWebhook(key.Reveal())
		require.NoError(t, err)
		require.NoError(t, theirs.Verify(body, headerOf(fields)), key.ID)
		require.Error(t, theirs.Verify([]byte(`{"a":2}`), headerOf(fields)))
	}
	stranger, err := standardwebhooks.NewWebhook(generate(t, "x", signature.V1, signature.Active).Reveal())
	require.NoError(t, err)
	require.ErrorIs(t, stranger.Verify(body, headerOf(fields)), standardwebhooks.ErrNoMatchingSignature)
}

// TestOfficialLibrarySigns is the other direction: we accept what it signs.
func TestOfficialLibrarySigns(t *testing.T) {
	key := generate(t, "k1", signature.V1, signature.Active)
	theirs, err := standardwebhooks.NewWebhook(key.Reveal())
	require.NoError(t, err)
	now := time.Unix(vectorUnix, 0)
	list, err := theirs.Sign("msg_1", now, []byte("hello"))
	require.NoError(t, err)
	h := http.Header{}
	h.Set(standardwebhooks.HeaderWebhookID, "msg_1")
	h.Set(standardwebhooks.HeaderWebhookTimestamp, "1614265330")
	h.Set(standardwebhooks.HeaderWebhookSignature, list)
	_, err = signature.VerifyStandard(h, []byte("hello"), []signature.Verifier{verifierOf(t, key)}, now, time.Minute)
	require.NoError(t, err)
}
