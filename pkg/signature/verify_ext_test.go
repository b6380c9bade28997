package signature_test

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

// single is a Getter that cannot tell doubled fields.
type single map[string]string

func (s single) Get(name string) string { return s[name] }

func signed(tb testing.TB, keys ...signature.Key) http.Header {
	tb.Helper()
	var schemes []string
	for _, s := range signature.Standard() {
		for _, k := range keys {
			if k.Scheme == s {
				schemes = append(schemes, s)
				break
			}
		}
	}
	fields, _, err := signature.Signer{}.Sign(vectorRequest(), schemes, ringOf(tb, keys...))
	require.NoError(tb, err)
	return headerOf(fields)
}

func TestVerifyStandardWindow(t *testing.T) {
	key := parse(t, "k1", "v1", vectorSecret)
	header, verifiers := signed(t, key), []signature.Verifier{verifierOf(t, key)}
	at := time.Unix(vectorUnix, 0)
	for _, c := range []struct {
		name      string
		now       time.Time
		tolerance time.Duration
		want      error
	}{
		{"same second", at, 0, nil},
		{"default, last moment", at.Add(5 * time.Minute), 0, nil},
		{"default, too old", at.Add(5*time.Minute + 1), 0, signature.ErrTooOld},
		{"default, earliest moment", at.Add(-5 * time.Minute), 0, nil},
		{"default, too new", at.Add(-5*time.Minute - 1), 0, signature.ErrTooNew},
		{"negative means default", at.Add(4 * time.Minute), -time.Hour, nil},
		{"own, old enough", at.Add(time.Minute), time.Minute, nil},
		{"own, too old", at.Add(61 * time.Second), time.Minute, signature.ErrTooOld},
		{"own, too new", at.Add(-61 * time.Second), time.Minute, signature.ErrTooNew},
		{"centuries late", at.AddDate(900, 0, 0), 0, signature.ErrTooOld},
		{"no clock", time.Time{}, 0, signature.ErrTooNew},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := signature.VerifyStandard(header, []byte(vectorBody), verifiers, c.now, c.tolerance)
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, c.want)
		})
	}
}

func TestVerifyStandardHeaders(t *testing.T) {
	key, now := parse(t, "k1", "v1", vectorSecret), time.Unix(vectorUnix, 0)
	good := func() single {
		return single{"webhook-id": vectorID, "webhook-timestamp": strconv.Itoa(vectorUnix), "webhook-signature": vectorV1}
	}
	many := func(n int) string { return strings.Repeat("v1,AAAA ", n) + vectorV1 }
	for _, c := range []struct {
		name, field, value string
		want               error
	}{
		{"untouched", "other", "x", nil},
		{"no id", "webhook-id", "", signature.ErrMissingHeader},
		{"no timestamp", "webhook-timestamp", "", signature.ErrMissingHeader},
		{"no signature", "webhook-signature", "", signature.ErrMissingHeader},
		{"other id", "webhook-id", "msg_other", signature.ErrNoMatch},
		{"full stop in the id", "webhook-id", "msg.1", signature.ErrMalformed},
		{"control character in the id", "webhook-id", "msg\x01", signature.ErrMalformed},
		{"other second", "webhook-timestamp", "1614265331", signature.ErrNoMatch},
		{"timestamp in milliseconds", "webhook-timestamp", "1614265330000", signature.ErrMalformed},
		{"leading zero", "webhook-timestamp", "01614265330", signature.ErrMalformed},
		{"plus sign", "webhook-timestamp", "+1614265330", signature.ErrMalformed},
		{"negative", "webhook-timestamp", "-1614265330", signature.ErrMalformed},
		{"fraction", "webhook-timestamp", "1614265330.0", signature.ErrMalformed},
		{"underscore", "webhook-timestamp", "1614265_330", signature.ErrMalformed},
		{"exponent", "webhook-timestamp", "1e9", signature.ErrMalformed},
		{"far future", "webhook-timestamp", "99999999999", signature.ErrTooNew},
		{"garbage beside it", "webhook-signature", "v1 v1, v2,xyz ,,, v1,!! " + vectorV1, nil},
		{"unknown version only", "webhook-signature", "v2" + vectorV1[2:], signature.ErrNoMatch},
		{"v1a only", "webhook-signature", vectorV1a, signature.ErrNoMatch},
		{"v1 bytes called v1a", "webhook-signature", "v1a" + vectorV1[2:], signature.ErrNoMatch},
		{"no version", "webhook-signature", vectorV1[3:], signature.ErrNoMatch},
		{"truncated", "webhook-signature", vectorV1[:20], signature.ErrNoMatch},
		{"empty signature", "webhook-signature", "v1,", signature.ErrNoMatch},
		{"no padding", "webhook-signature", strings.TrimRight(vectorV1, "="), signature.ErrNoMatch},
		{"63 others before it", "webhook-signature", many(63), nil},
		{"64 others before it", "webhook-signature", many(64), signature.ErrMalformed},
		{"10,000 entries", "webhook-signature", many(10000), signature.ErrMalformed},
		{"one huge entry", "webhook-signature", "v1," + strings.Repeat("A", 16<<10), signature.ErrMalformed},
		{"comma list", "webhook-signature", vectorV1 + "," + vectorV1, signature.ErrNoMatch},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := good()
			h[c.field] = c.value
			got, err := signature.VerifyStandard(h, []byte(vectorBody), []signature.Verifier{verifierOf(t, key)}, now, 0)
			if c.want == nil {
				require.NoError(t, err)
				assert.Equal(t, vectorID, got.ID)
				return
			}
			require.ErrorIs(t, err, c.want)
			assert.Zero(t, got)
			if len(c.value) > 8 {
				assert.NotContains(t, err.Error(), c.value[:8], "what the sender wrote must not stand in the error")
			}
		})
	}
}

func TestVerifyStandardKeys(t *testing.T) {
	now, body := time.Unix(vectorUnix, 0), []byte(vectorBody)
	shared, pair := parse(t, "shared", "v1", vectorSecret), parse(t, "pair", "v1a", vectorPrivate)
	stranger, strangerPair := generate(t, "stranger", "v1", signature.Active), generate(t, "stranger2", "v1a", signature.Active)
	header := signed(t, shared, pair)
	verify := func(body []byte, keys ...signature.Key) (signature.Verified, error) {
		var vs []signature.Verifier
		for _, k := range keys {
			vs = append(vs, verifierOf(t, k))
		}
		return signature.VerifyStandard(header, body, vs, now, 0)
	}
	for _, keys := range [][]signature.Key{{shared}, {pair}, {stranger, strangerPair, pair}} {
		got, err := verify(body, keys...)
		require.NoError(t, err)
		assert.Equal(t, keys[len(keys)-1].ID, got.KeyID)
		assert.Equal(t, verifierOf(t, keys[len(keys)-1]).Scheme(), got.Scheme)
	}
	for _, keys := range [][]signature.Key{{stranger}, {strangerPair}, {stranger, strangerPair}} {
		_, err := verify(body, keys...)
		require.ErrorIs(t, err, signature.ErrNoMatch)
	}
	for _, changed := range []string{"", vectorBody + " ", `{"test":2432232314}`, strings.ToUpper(vectorBody)} {
		_, err := verify([]byte(changed), shared, pair)
		require.ErrorIs(t, err, signature.ErrNoMatch)
	}
	_, err := verify(body)
	require.ErrorIs(t, err, signature.ErrNoVerifier)
	_, err = signature.VerifyStandard(header, body, []signature.Verifier{{}}, now, 0)
	require.ErrorIs(t, err, signature.ErrNoVerifier)
	// A zero verifier among good ones neither matches nor spoils.
	_, err = signature.VerifyStandard(header, body, []signature.Verifier{{}, verifierOf(t, shared)}, now, 0)
	assert.NoError(t, err)
}

// TestBodyCannotMoveIntoTheTimestamp is why a full stop in the id is refused:
// the same signed bytes could be cut in another place.
func TestBodyCannotMoveIntoTheTimestamp(t *testing.T) {
	key := parse(t, "k1", "v1", vectorSecret)
	body := "1614265400.evil"
	fields, _, err := signature.Signer{}.Sign(signature.Request{ID: "msg", Time: time.Unix(vectorUnix, 0), Body: []byte(body)}, []string{"v1"}, ringOf(t, key))
	require.NoError(t, err)
	h := single{"webhook-id": "msg.1614265330", "webhook-timestamp": "1614265400", "webhook-signature": fields[2].Value}
	_, err = signature.VerifyStandard(h, []byte("evil"), []signature.Verifier{verifierOf(t, key)}, time.Unix(vectorUnix+70, 0), 0)
	assert.ErrorIs(t, err, signature.ErrMalformed)
}

func TestDoubledHeadersAreRefused(t *testing.T) {
	key := parse(t, "k1", "v1", vectorSecret)
	for _, name := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
		h := signed(t, key)
		h.Add(name, h.Get(name))
		_, err := signature.VerifyStandard(h, []byte(vectorBody), []signature.Verifier{verifierOf(t, key)}, time.Unix(vectorUnix, 0), 0)
		require.ErrorIs(t, err, signature.ErrMalformed)
		assert.ErrorContains(t, err, name)
	}
}

// TestPublicKeyIsNoSharedSecret tries the classic confusion: an HMAC made with
// the public key, which everybody knows, sent as a signature of the pair.
func TestPublicKeyIsNoSharedSecret(t *testing.T) {
	forged, err := signature.ParseSecret("v1", "whsec_"+strings.TrimPrefix(vectorPublic, "whpk_"))
	require.NoError(t, err)
	forged.State = signature.Active
	h := signed(t, forged)
	public, err := signature.ParsePublic(vectorPublic)
	require.NoError(t, err)
	mac := strings.TrimPrefix(h.Get("webhook-signature"), "v1,")
	raw, err := base64.StdEncoding.DecodeString(mac)
	require.NoError(t, err)
	for _, list := range []string{"v1," + mac, "v1a," + mac, "v1a," + base64.StdEncoding.EncodeToString(append(raw, raw...))} {
		h.Set("webhook-signature", list)
		_, err = signature.VerifyStandard(h, []byte(vectorBody), []signature.Verifier{public}, time.Unix(vectorUnix, 0), 0)
		require.ErrorIs(t, err, signature.ErrNoMatch)
	}
}

// TestAVerifierHasTheSendersID for its key, so that a receiver's records and the sender's tell of the same one.
func TestAVerifierHasTheSendersID(t *testing.T) {
	for _, scheme := range []string{signature.V1, signature.V1a} {
		key, err := signature.GenerateKey(scheme, time.Now(), rand.Reader)
		require.NoError(t, err)
		parse := func() (signature.Verifier, error) { return signature.ParsePublicKey(scheme, key.Public()) }
		if key.Public() == "" {
			parse = func() (signature.Verifier, error) {
				own, err := signature.ParseSecret(scheme, key.Reveal())
				require.NoError(t, err)
				return own.Verifier()
			}
		}
		own, err := parse()
		require.NoError(t, err)
		require.NotEqual(t, key.ID, own.KeyID())
		named, err := own.Named(key.ID)
		require.NoError(t, err)
		assert.Equal(t, key.ID, named.KeyID())
		assert.True(t, named.Valid())
		assert.NotEqual(t, key.ID, own.KeyID(), "the one before is a value of its own")
		for _, bad := range []string{"", "a b", strings.Repeat("a", 65), "a\n"} {
			none, err := own.Named(bad)
			require.ErrorIs(t, err, signature.ErrInvalidKey)
			assert.False(t, none.Valid())
		}
	}
}
