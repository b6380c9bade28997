package conformance

import (
	"crypto/rand"
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

// TestUnknownVersionsAreIgnored puts versions that nobody knows around the signatures of one that is known: the official
// library and our own accept what they know and pass over the rest, wherever it stands, so that a version can be added and
// removed without telling anybody. What is unknown never counts as a signature.
func TestUnknownVersionsAreIgnored(t *testing.T) {
	var keys []signature.Key
	for _, scheme := range signature.Standard() {
		key, err := signature.GenerateKey(scheme, time.Now(), rand.Reader)
		require.NoError(t, err)
		key.State = signature.Active
		keys = append(keys, key)
	}
	ring, err := signature.NewRing(keys...)
	require.NoError(t, err)
	body, now := []byte(`{"a":1}`), time.Now()
	made := map[string]string{}
	header := http.Header{}
	for _, scheme := range signature.Standard() {
		fields, _, err := signature.Signer{}.Sign(signature.Request{ID: "msg_1", Time: now, Body: body}, []string{scheme}, ring)
		require.NoError(t, err)
		for _, f := range fields {
			header.Set(f.Name, f.Value)
			made[scheme] = f.Value // the signature comes last
		}
	}
	v1, v1a := made[signature.V1], made[signature.V1a]
	value := strings.TrimPrefix(v1, "v1,")
	official, err := standardwebhooks.NewWebhook(keys[0].Reveal())
	require.NoError(t, err)
	for list, want := range map[string]struct{ v1, v1a bool }{
		v1:                                   {v1: true},
		v1 + " " + v1a:                       {v1: true, v1a: true},
		v1a + " " + v1:                       {v1: true, v1a: true},
		"v9," + value + " " + v1:             {v1: true},
		v1 + " v2," + value:                  {v1: true},
		"v9,!? " + v1a + " v1b,x= " + v1:     {v1: true, v1a: true},
		v1a:                                  {v1a: true},
		"v9," + value:                        {},
		"V1," + value:                        {},
		"v1b," + value + " v10," + value:     {},
		"v1a," + value:                       {},
		strings.Replace(v1a, "v1a", "v1", 1): {},
	} {
		header.Set(signature.HeaderSignature, list)
		assert.Equal(t, want.v1, official.Verify(body, header) == nil, "the official library: %s", list)
		for i, accepted := range []bool{want.v1, want.v1a} {
			verifier, err := keys[i].Verifier()
			require.NoError(t, err)
			_, err = signature.VerifyStandard(header, body, []signature.Verifier{verifier}, now, 0)
			assert.Equal(t, accepted, err == nil, "%s: %s: %v", keys[i].Scheme, list, err)
		}
		assert.Equal(t, want.v1a, checkV1a(keys[1].Public(), header, body) == nil, "v1a by hand: %s", list)
	}
}
