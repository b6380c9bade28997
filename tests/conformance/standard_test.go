package conformance

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/tests/kit"
)

var errNoMatch = errors.New("no v1a signature matches")

// checkV1a is v1a as the specification says it, with nothing of ours: no official library verifies it yet.
func checkV1a(public string, header http.Header, body []byte) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(public, "whpk_"))
	if err != nil || len(key) != ed25519.PublicKeySize {
		return fmt.Errorf("no public key: %q", public)
	}
	content := header.Get("webhook-id") + "." + header.Get("webhook-timestamp") + "." + string(body)
	for entry := range strings.SplitSeq(header.Get("webhook-signature"), " ") {
		version, value, _ := strings.Cut(entry, ",")
		if version != "v1a" {
			continue
		}
		made, err := base64.StdEncoding.DecodeString(value)
		if err == nil && ed25519.Verify(key, []byte(content), made) {
			return nil
		}
	}
	return errNoMatch
}

// judges are an endpoint's keys as its receiver holds them.
type judges struct {
	official *standardwebhooks.Webhook
	public   string
}

func judgesOf(t *testing.T, keys []signature.Key) judges {
	t.Helper()
	var j judges
	for _, key := range keys {
		switch key.Scheme {
		case signature.V1:
			var err error
			j.official, err = standardwebhooks.NewWebhook(key.Reveal())
			require.NoError(t, err)
		case signature.V1a:
			j.public = key.Public()
		}
	}
	require.NotNil(t, j.official, "the endpoint has a v1 secret")
	require.NotEmpty(t, j.public, "and a v1a key pair")
	return j
}

// both asks both judges, now.
func (j judges) both(header http.Header, body []byte) error {
	return errors.Join(j.official.Verify(body, header), checkV1a(j.public, header, body))
}

// never asks both judges about what nobody signed. Each must refuse it because of the signature and not, say, of its age.
func (j judges) never(t *testing.T, header http.Header, body []byte, what string) {
	t.Helper()
	require.ErrorIs(t, j.official.VerifyIgnoringTimestamp(body, header), standardwebhooks.ErrNoMatchingSignature, what)
	require.ErrorIs(t, checkV1a(j.public, header, body), errNoMatch, what)
}

// vector is the one of the official libraries (v1) and of svix-server (v1a): same message, two schemes.
type vector struct{ scheme, secret, signature string }

const (
	vectorID     = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorUnix   = 1614265330
	vectorBody   = `{"test": 2432232314}`
	vectorPublic = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
)

func vectors() []vector {
	return []vector{
		{"v1", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
		{"v1a", "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==", "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="},
	}
}

// TestPublishedVectors signs the published message with the published keys, side by side as a delivery is.
func TestPublishedVectors(t *testing.T) {
	var (
		keys    []signature.Key
		schemes []string
		want    []string
	)
	for _, v := range vectors() {
		key, err := signature.ParseSecret(v.scheme, v.secret)
		require.NoError(t, err)
		key.State = signature.Active
		keys, schemes, want = append(keys, key), append(schemes, v.scheme), append(want, v.signature)
	}
	ring, err := signature.NewRing(keys...)
	require.NoError(t, err)
	request := signature.Request{ID: vectorID, Time: time.Unix(vectorUnix, 0), Body: []byte(vectorBody)}
	fields, _, err := signature.Signer{}.Sign(request, schemes, ring)
	require.NoError(t, err)
	header := http.Header{}
	for _, field := range fields {
		header.Set(field.Name, field.Value)
	}
	assert.Equal(t, http.Header{
		"Webhook-Id": {vectorID}, "Webhook-Timestamp": {"1614265330"}, "Webhook-Signature": {strings.Join(want, " ")},
	}, header)

	j := judgesOf(t, keys)
	assert.Equal(t, vectorPublic, j.public)
	require.NoError(t, j.official.VerifyIgnoringTimestamp([]byte(vectorBody), header))
	require.NoError(t, checkV1a(vectorPublic, header, []byte(vectorBody)))
	j.never(t, header, []byte(`{"test": 2432232315}`), "the judges of the tests below can say no")
	for i, key := range keys {
		t.Run("the receiver's side of "+key.Scheme, func(t *testing.T) {
			verifier, err := key.Verifier()
			require.NoError(t, err)
			header := header.Clone()
			header.Set("webhook-signature", want[i])
			got, err := signature.VerifyStandard(header, []byte(vectorBody), []signature.Verifier{verifier}, time.Unix(vectorUnix, 0), 0)
			require.NoError(t, err)
			assert.Equal(t, signature.Verified{ID: vectorID, Time: time.Unix(vectorUnix, 0).UTC(), Scheme: key.Scheme, KeyID: key.ID}, got)
		})
	}
}

// TestLiveDeliveriesVerify lets the receiver verify each attempt in the moment of its arrival, retries included.
func TestLiveDeliveriesVerify(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		j := judgesOf(t, w.Keys(endpoint.Key{Tenant: "acme", Name: "orders"}))
		answer := kit.Answer(503, 500, 200)
		r := w.Receiver("hooks.example.com", http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			body := readAll(t, req.Body)
			assert.NoError(t, j.both(req.Header, body), "on arrival, at %s", time.Now())
			answer(rw, req)
		}))
		w.Apply(r.Document("acme", "orders"))
		w.Start()
		w.Pass(time.Second)
		w.Publish("acme", "com.acme.order.created", `{"customer":"Zoë","total":1.10}`)
		w.Pass(10 * time.Minute)

		hits := r.Hits()
		require.Len(t, hits, 3)
		assert.Equal(t, []delivery.Outcome{delivery.Unavailable, delivery.Unavailable, delivery.Delivered}, w.Outcomes())
		for i, hit := range hits {
			assert.Equal(t, hits[0].Header["Webhook-Id"], hit.Header["Webhook-Id"], "the id stays")
			assert.Equal(t, hits[0].Body, hit.Body, "and so does every byte of the body")
			assert.Equal(t, []string{strconv.FormatInt(hit.At.Unix(), 10)}, hit.Header["Webhook-Timestamp"], "the timestamp is that of the attempt")
			judgeHeader(t, hit.Header)
			for _, other := range hits[:i] {
				judgeFresh(t, other.Header, hit.Header)
				mixed := hit.Header.Clone()
				mixed["Webhook-Timestamp"] = other.Header["Webhook-Timestamp"]
				j.never(t, mixed, hit.Body, "the signature of one attempt does not cover the time of another")
			}
		}
		require.ErrorIs(t, j.official.Verify(hits[0].Body, hits[0].Header), standardwebhooks.ErrMessageTooOld, "a replay minutes later is refused")
	})
}

// judgeHeader looks at the form of the three headers.
func judgeHeader(t *testing.T, header http.Header) {
	t.Helper()
	for _, name := range []string{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"} {
		require.Len(t, header[name], 1, "%s stands there once", name)
	}
	assert.NotContains(t, header.Get("webhook-id"), ".", "a full stop would make the signed content ambiguous")
	var versions []string
	for entry := range strings.SplitSeq(header.Get("webhook-signature"), " ") {
		version, value, ok := strings.Cut(entry, ",")
		require.True(t, ok, entry)
		_, err := base64.StdEncoding.Strict().DecodeString(value)
		require.NoError(t, err, "standard base64 with padding")
		versions = append(versions, version)
	}
	slices.Sort(versions)
	assert.Equal(t, []string{"v1", "v1a"}, versions)
}

// judgeFresh wants nothing of an earlier attempt's signatures to come again.
func judgeFresh(t *testing.T, earlier, later http.Header) {
	t.Helper()
	assert.NotEqual(t, earlier["Webhook-Timestamp"], later["Webhook-Timestamp"], "a new timestamp")
	for entry := range strings.SplitSeq(later.Get("webhook-signature"), " ") {
		assert.NotContains(t, strings.Split(earlier.Get("webhook-signature"), " "), entry, "a new signature")
	}
}

// TestOneChangedByteIsRefused takes a live delivery and changes each byte of what is signed, one at a time.
func TestOneChangedByteIsRefused(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "orders"))
		w.Start()
		w.Pass(time.Second)
		w.Publish("acme", "com.acme.order.created", `{"order":1}`)
		w.Pass(time.Second)
		require.Len(t, r.Hits(), 1)
		hit := r.Hits()[0]
		j := judgesOf(t, w.Keys(endpoint.Key{Tenant: "acme", Name: "orders"}))
		require.NoError(t, j.both(hit.Header, hit.Body), "as it came, it verifies")

		for i := range hit.Body {
			body := slices.Clone(hit.Body)
			body[i] ^= 1
			j.never(t, hit.Header, body, fmt.Sprintf("byte %d of the body", i))
		}
		j.never(t, hit.Header, append(slices.Clone(hit.Body), '\n'), "a line feed at the end")
		j.never(t, hit.Header, hit.Body[:len(hit.Body)-1], "the last byte missing")
		for _, name := range []string{"webhook-id", "webhook-timestamp"} {
			value := hit.Header.Get(name)
			for i := range value {
				changed := []byte(value)
				changed[i] ^= 1 // a digit stays a digit
				header := hit.Header.Clone()
				header.Set(name, string(changed))
				j.never(t, header, hit.Body, fmt.Sprintf("character %d of %s", i, name))
			}
		}
		stranger := judgesOf(t, w.Keys(endpoint.Key{Tenant: "acme", Name: "another"}))
		stranger.never(t, hit.Header, hit.Body, "the keys of another endpoint of the same tenant")
	})
}
