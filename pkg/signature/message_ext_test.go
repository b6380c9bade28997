package signature_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

// The vector of the webhook profile: made with the RFC's key and accepted by httpsig-go, an implementation of others.
const (
	profileKey       = "MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF"
	profilePublic    = "MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="
	profileUnix      = 1618884473
	profileDigest    = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
	profileInput     = `("@method" "@authority" "@path" "@query" "content-type" "content-digest" "webhook-id");created=1618884473;expires=1618884773;keyid="test-key-ed25519";tag="webhook"`
	profileSignature = ":USWALsW9ca5QPCvCaOG8CEpv1RPex8fqeJ+QsmnwwTuapXhyIW49V4x/JtnJGtjLfSHANvvqL6FLf1pWuJM7Ag==:"
)

func profileRequest() signature.Request {
	return signature.Request{
		ID: vectorID, Time: time.Unix(profileUnix, 0), Method: http.MethodPost, URL: "https://example.com/hooks/in?tenant=a",
		Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{"hello": "world"}`),
	}
}

func profileReceived() signature.Received {
	h := http.Header{}
	h.Set("content-type", "application/json")
	h.Set("content-digest", profileDigest)
	h.Set("webhook-id", vectorID)
	h.Set("signature-input", "whk="+profileInput)
	h.Set("signature", "whk="+profileSignature)
	return signature.Received{Method: http.MethodPost, Authority: "example.com", Target: "/hooks/in?tenant=a", Header: h, Body: []byte(`{"hello": "world"}`)}
}

func TestProfileVector(t *testing.T) {
	key := parse(t, "test-key-ed25519", signature.HTTPEd25519, profileKey)
	_, fields, _ := sign(t, signature.Signer{}, profileRequest(), []string{signature.HTTPEd25519}, key)
	assert.Equal(t, []signature.Field{
		{Name: "content-digest", Value: profileDigest},
		{Name: "webhook-id", Value: vectorID},
		{Name: "signature-input", Value: "ed25519=" + profileInput, Separator: ", "},
		{Name: "signature", Value: "ed25519=" + profileSignature, Separator: ", "},
	}, fields)
	public, err := signature.ParsePublicKey(signature.HTTPEd25519, profilePublic)
	require.NoError(t, err)
	got, err := signature.Verify(signature.HTTPEd25519, profileReceived(), []signature.Verifier{public}, time.Unix(profileUnix+299, 0), 0)
	require.NoError(t, err)
	assert.Equal(t, signature.Verified{ID: vectorID, Time: time.Unix(profileUnix, 0).UTC(), Scheme: signature.HTTPEd25519, KeyID: public.KeyID()}, got)
}

// TestMessagesUnderAttack changes everything that an attacker on the way could change.
func TestMessagesUnderAttack(t *testing.T) {
	key := parse(t, "test-key-ed25519", signature.HTTPEd25519, profileKey)
	other := generate(t, "other", signature.HTTPEd25519, signature.Active)
	keys := []signature.Verifier{verifierOf(t, other), verifierOf(t, key)}
	replace := func(header, from, to string) func(*signature.Received) {
		return func(r *signature.Received) {
			h := r.Header.(http.Header)
			require.Contains(t, h.Get(header), from)
			h.Set(header, strings.Replace(h.Get(header), from, to, 1))
		}
	}
	set := func(header, value string) func(*signature.Received) {
		return func(r *signature.Received) { r.Header.(http.Header).Set(header, value) }
	}
	for _, c := range []struct {
		name string
		do   func(*signature.Received)
		want error // nil: accepted all the same
	}{
		{"nothing", func(*signature.Received) {}, nil},
		{"another label", func(r *signature.Received) {
			r.Header.(http.Header).Set("signature-input", "x="+profileInput)
			r.Header.(http.Header).Set("signature", "x="+profileSignature)
		}, nil},
		{"authority in another spelling", func(r *signature.Received) { r.Authority = "Example.COM:443" }, nil},
		{"signatures of others beside it", func(r *signature.Received) {
			replace("signature-input", "whk=", `a=("date");tag="other", b, c=("@method";req);tag="webhook", whk=`)(r)
			replace("signature", "whk=", "c=:AAAA:, a=:AAAA:, whk=")(r)
		}, nil},
		{"method", func(r *signature.Received) { r.Method = http.MethodPut }, signature.ErrNoMatch},
		{"authority", func(r *signature.Received) { r.Authority = "example.org" }, signature.ErrNoMatch},
		{"path", func(r *signature.Received) { r.Target = "/admin/delete?tenant=a" }, signature.ErrNoMatch},
		{"query", func(r *signature.Received) { r.Target = "/hooks/in?tenant=b" }, signature.ErrNoMatch},
		{"no query", func(r *signature.Received) { r.Target = "/hooks/in" }, signature.ErrNoMatch},
		{"encoding of the path", func(r *signature.Received) { r.Target = "/hooks/%69n?tenant=a" }, signature.ErrNoMatch},
		{"body", func(r *signature.Received) { r.Body = []byte(`{"hello": "moon!"}`) }, signature.ErrNoMatch},
		{"body and digest", func(r *signature.Received) {
			r.Body = nil
			set("content-digest", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:")(r)
		}, signature.ErrNoMatch},
		{"id", set("webhook-id", "msg_2"), signature.ErrNoMatch},
		{"content type", set("content-type", "text/html"), signature.ErrNoMatch},
		{"no content type", set("content-type", ""), signature.ErrMalformed},
		{"two content types", func(r *signature.Received) { r.Header.(http.Header).Add("content-type", "text/html") }, signature.ErrMalformed},
		{"created", replace("signature-input", "1618884473", "1618884474"), signature.ErrNoMatch},
		{"expires", replace("signature-input", "1618884773", "1718884773"), signature.ErrNoMatch},
		{"no expires", replace("signature-input", ";expires=1618884773", ""), signature.ErrNoMatch},
		{"expires before created", replace("signature-input", "1618884773", "1618884472"), signature.ErrMalformed},
		{"expires as text", replace("signature-input", "1618884773", `"1618884773"`), signature.ErrMalformed},
		{"no created", replace("signature-input", "created=1618884473;", ""), signature.ErrMalformed},
		{"created as a decimal", replace("signature-input", "1618884473", "1618884473.0"), signature.ErrMalformed},
		{"key id", replace("signature-input", "test-key-ed25519", "other"), signature.ErrNoMatch},
		{"key id of nobody", replace("signature-input", "test-key-ed25519", "nobody"), signature.ErrNoMatch},
		{"no key id", replace("signature-input", `;keyid="test-key-ed25519"`, ""), signature.ErrNoMatch},
		{"tag", replace("signature-input", `tag="webhook"`, `tag="webhooks"`), signature.ErrNoMatch},
		{"no tag", replace("signature-input", `;tag="webhook"`, ""), signature.ErrNoMatch},
		{"tag as a token", replace("signature-input", `tag="webhook"`, `tag=webhook`), signature.ErrNoMatch},
		{"another algorithm", replace("signature-input", `;tag`, `;alg="hmac-sha256";tag`), signature.ErrNoMatch},
		{"an algorithm that was not signed", replace("signature-input", `;tag`, `;alg="ed25519";tag`), signature.ErrNoMatch},
		{"no body covered", replace("signature-input", ` "content-digest"`, ""), signature.ErrNoMatch},
		{"no id covered", replace("signature-input", ` "webhook-id"`, ""), signature.ErrNoMatch},
		{"no method covered", replace("signature-input", `"@method" `, ""), signature.ErrNoMatch},
		{"no path covered", replace("signature-input", `"@path" `, ""), signature.ErrNoMatch},
		{"no type covered", replace("signature-input", `"content-type" `, ""), signature.ErrNoMatch},
		{"the target in place of path and query, not signed so", replace("signature-input", `"@authority" "@path" "@query"`, `"@target-uri"`), signature.ErrNoMatch},
		{"a component twice", replace("signature-input", `"@path"`, `"@path" "@path"`), signature.ErrMalformed},
		{"an unknown component", replace("signature-input", `"@path"`, `"@path" "@status"`), signature.ErrMalformed},
		{"too many components", replace("signature-input", `"@path"`, `"@path" `+strings.Repeat(`"x" `, 70)), signature.ErrMalformed},
		{"space that was not signed", replace("signature-input", `"@path" `, `"@path"  `), signature.ErrNoMatch},
		{"a label twice", func(r *signature.Received) { set("signature-input", "whk="+profileInput+", whk="+profileInput)(r) }, signature.ErrMalformed},
		{"two signature fields", func(r *signature.Received) { r.Header.(http.Header).Add("signature", "b=:AAAA:") }, signature.ErrMalformed},
		{"a signature under another label", replace("signature", "whk", "abc"), signature.ErrNoMatch},
		{"a signature that is text", set("signature", `whk="abc"`), signature.ErrNoMatch},
		{"65 labels", func(r *signature.Received) {
			set("signature-input", strings.Repeat("a", 1)+"=1"+labels(64)+", whk="+profileInput)(r)
		}, signature.ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := profileReceived()
			c.do(&r)
			_, err := signature.Verify(signature.HTTPEd25519, r, keys, time.Unix(profileUnix, 0), 0)
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, c.want)
		})
	}
	_, err := signature.Verify(signature.HTTPEd25519, profileReceived(), keys, time.Unix(profileUnix+301, 0), time.Hour)
	require.ErrorIs(t, err, signature.ErrTooOld, "the sender's end counts, whatever the receiver tolerates")
}

func labels(n int) string {
	var out strings.Builder
	for i := range n {
		out.WriteString(", l" + strings.Repeat("x", i) + "=1")
	}
	return out.String()
}

func TestMessageKeys(t *testing.T) {
	ec := generate(t, "k", signature.HTTPECDSA, signature.Active)
	assert.IsType(t, &ecdsa.PublicKey{}, ec.PublicKey())
	ed := parse(t, "k", signature.HTTPEd25519, profileKey)
	assert.IsType(t, ed25519.PublicKey{}, ed.PublicKey())
	assert.Equal(t, profilePublic, ed.Public())
	assert.Equal(t, profileKey, ed.Reveal())
	pem := "-----BEGIN PRIVATE KEY-----\n" + profileKey + "\n-----END PRIVATE KEY-----\n"
	assert.Equal(t, profileKey, parse(t, "k", signature.HTTPEd25519, pem).Reveal(), "PEM and one line are one key")
	for scheme, public := range map[string]string{signature.HTTPECDSA: ec.Public(), signature.HTTPEd25519: ed.Public(), signature.V1a: vectorPublic} {
		for _, name := range signature.Schemes() {
			_, err := signature.ParsePublicKey(name, public)
			if name == scheme {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, signature.ErrInvalidKey, "%s's public key for %s", scheme, name)
			}
		}
	}
	_, err := signature.ParsePublicKey("v9", vectorPublic)
	require.ErrorIs(t, err, signature.ErrUnknownScheme)
}

func TestMessageSchemeRefusesRequests(t *testing.T) {
	key := parse(t, "k", signature.HTTPEd25519, profileKey)
	for what, spoil := range map[string]func(*signature.Request){
		"no URL":            func(r *signature.Request) { r.URL = "" },
		"a path alone":      func(r *signature.Request) { r.URL = "/in" },
		"no method":         func(r *signature.Request) { r.Method = "" },
		"a line break":      func(r *signature.Request) { r.Header = http.Header{"Content-Type": {"a\r\n\"@method\": GET"}} },
		"two content types": func(r *signature.Request) { r.Header = http.Header{"Content-Type": {"a", "b"}} },
	} {
		r := profileRequest()
		spoil(&r)
		_, _, err := signature.Signer{}.Sign(r, []string{signature.HTTPEd25519}, ringOf(t, key))
		require.Error(t, err, what)
	}
	r := profileRequest()
	r.Header = nil
	sent, fields, _ := sign(t, signature.Signer{}, r, []string{signature.HTTPEd25519}, key)
	assert.NotContains(t, fields[2].Value, "content-type", "what is not sent is not signed")
	in := arrived(t, sent, fields)
	_, err := signature.Verify(signature.HTTPEd25519, in, []signature.Verifier{verifierOf(t, key)}, r.Time, 0)
	require.NoError(t, err)
	in.Header.(http.Header).Set("content-type", "text/html")
	_, err = signature.Verify(signature.HTTPEd25519, in, []signature.Verifier{verifierOf(t, key)}, r.Time, 0)
	require.ErrorIs(t, err, signature.ErrNoMatch, "nor may it be added on the way")
}
