package conformance

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

// everyComponent is what a webhook has to sign.
const everyComponent = `"@method" "@authority" "@path" "@query" "content-type" "content-digest" "webhook-id"`

// signedBy signs as RFC 9421 says it (section 2.5), with the receiver's own shared secret and whatever components and
// parameters: nothing about it is forged.
func (g *target) signedBy(t *testing.T, id, components, parameters string) letter {
	t.Helper()
	l := g.sign(id, g.now(), attackBody) // for its digest and its other fields
	path, query, _ := strings.Cut(l.target, "?")
	values := map[string]string{
		"@method": l.method, "@authority": g.address, "@path": path, "@query": "?" + query, "@target-uri": "https://" + g.address + l.target,
		"content-type": "application/json", "content-digest": l.value("content-digest"), "webhook-id": id,
	}
	var base strings.Builder
	for component := range strings.FieldsSeq(components) {
		value, ok := values[strings.Trim(component, `"`)]
		require.True(t, ok, component)
		fmt.Fprintf(&base, "%s: %s\n", component, value)
	}
	input := "(" + components + ")" + parameters
	fmt.Fprintf(&base, `"@signature-params": %s`, input)
	secret, err := base64.StdEncoding.DecodeString(g.keys[0].Reveal())
	require.NoError(t, err)
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(base.String()))
	return l.with("signature-input", "signature-input: whk="+input).with("signature", "signature: whk=:"+base64.StdEncoding.EncodeToString(h.Sum(nil))+":")
}

// TestSignedAndStillRefused: the signature holds, and what it says does not do.
func TestSignedAndStillRefused(t *testing.T) {
	g := aim(t, nil, signature.HTTPHMAC, signature.HTTPHMAC)
	at := g.now().Unix()
	const minute = 60
	keyID := `;keyid="` + g.keys[0].ID + `"`
	times := func(created, expires int64) string {
		return fmt.Sprintf(`;created=%d;expires=%d%s;tag="webhook"`, at+created, at+expires, keyID)
	}
	good := times(0, 5*minute)
	without := func(component string) string {
		return strings.Join(strings.Fields(strings.ReplaceAll(everyComponent, component, "")), " ")
	}
	for name, c := range map[string]struct {
		components, parameters string
		status                 int
	}{
		"as it should be":                {everyComponent, good, http.StatusOK},
		"in another order":               {`"webhook-id" "content-digest" "content-type" "@query" "@path" "@authority" "@method"`, good, http.StatusOK},
		"with the whole target as well":  {everyComponent + ` "@target-uri"`, good, http.StatusOK},
		"it is over":                     {everyComponent, times(-2*minute, -1*minute), http.StatusUnauthorized},
		"it is over since a moment":      {everyComponent, times(-2*minute, -1), http.StatusUnauthorized},
		"it was over before it began":    {everyComponent, times(0, -1), http.StatusUnauthorized},
		"old, and it says that it lasts": {everyComponent, times(-6*minute, 60*minute), http.StatusUnauthorized},
		"from the future":                {everyComponent, times(6*minute, 60*minute), http.StatusUnauthorized},
		"for another use":                {everyComponent, strings.Replace(good, `tag="webhook"`, `tag="login"`, 1), http.StatusUnauthorized},
		"for any use":                    {everyComponent, strings.Replace(good, `;tag="webhook"`, "", 1), http.StatusUnauthorized},
		"created at no time":             {everyComponent, strings.Replace(good, fmt.Sprintf(";created=%d", at), "", 1), http.StatusUnauthorized},
		"of another algorithm":           {everyComponent, strings.Replace(good, ";created", `;alg="ed25519";created`, 1), http.StatusUnauthorized},
		"under another key's id":         {everyComponent, strings.Replace(good, g.keys[0].ID, g.keys[1].ID, 1), http.StatusUnauthorized},
		"without the method":             {without(`"@method"`), good, http.StatusUnauthorized},
		"without the host":               {without(`"@authority"`), good, http.StatusUnauthorized},
		"without the path":               {without(`"@path"`), good, http.StatusUnauthorized},
		"without the query":              {without(`"@query"`), good, http.StatusUnauthorized},
		"without the digest":             {without(`"content-digest"`), good, http.StatusUnauthorized},
		"without the type":               {without(`"content-type"`), good, http.StatusUnauthorized},
		"without the id":                 {without(`"webhook-id"`), good, http.StatusUnauthorized},
		"with a component twice":         {everyComponent + ` "@path"`, good, http.StatusUnauthorized},
		"without anything":               {"", good, http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			before := g.calls.Load()
			id := "msg_" + strings.ReplaceAll(name, " ", "-")
			l := g.signedBy(t, id, c.components, c.parameters)
			assert.Equal(t, c.status, g.post(friend, l))
			assert.Equal(t, c.status == http.StatusOK, g.calls.Load() > before)
		})
	}
	// The same letter once more, when it is over.
	l := g.signedBy(t, "msg_short", everyComponent, times(0, minute))
	g.offset.Store(int64(2 * time.Minute))
	assert.Equal(t, http.StatusUnauthorized, g.post(friend, l), "it ends sooner than the receiver's tolerance")
}

// TestKeyIDsSwapped: of two keys that the receiver knows, a request of one says that it is of the other.
func TestKeyIDsSwapped(t *testing.T) {
	for _, scheme := range []string{signature.HTTPEd25519, signature.HTTPECDSA, signature.HTTPHMAC} {
		t.Run(scheme, func(t *testing.T) {
			g := aim(t, nil, scheme, scheme)
			a, b := g.keys[0].ID, g.keys[1].ID
			require.NotEqual(t, a, b)
			g.keys = g.keys[:1]
			one := g.sign("msg_1", g.now(), attackBody)
			require.Contains(t, one.value("signature-input"), a)
			assert.Equal(t, http.StatusUnauthorized, g.post(friend, one.changed(t, "signature-input", a, b)))
			assert.Zero(t, g.calls.Load())
			assert.Equal(t, http.StatusOK, g.post(friend, one), "and it is still good")
		})
		t.Run(scheme+", both at once", func(t *testing.T) {
			g := aim(t, nil, scheme, scheme)
			a, b := g.keys[0].ID, g.keys[1].ID
			two := g.sign("msg_1", g.now(), attackBody)
			for _, id := range []string{a, b} {
				require.Contains(t, two.value("signature-input"), id)
			}
			swapped := two.changed(t, "signature-input", a, "?").changed(t, "signature-input", b, a).changed(t, "signature-input", "?", b)
			assert.Equal(t, http.StatusUnauthorized, g.post(friend, swapped))
			assert.Zero(t, g.calls.Load())
			assert.Equal(t, http.StatusOK, g.post(friend, two))
		})
	}
}
