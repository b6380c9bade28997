package signature_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

// TestAllSchemesSideBySide signs one request by every scheme, and each receiver finds its own.
func TestAllSchemesSideBySide(t *testing.T) {
	r := vectorRequest()
	r.Method, r.URL = http.MethodPost, "https://example.com/in"
	r.Header = http.Header{"Content-Type": {"application/json"}}
	signer := signature.Signer{Template: signature.Template{Header: "X-Acme", Content: "{id}.{timestamp}.{body}", Algorithm: "hmac-sha512"}}
	var keys []signature.Key
	for _, name := range signature.Schemes() {
		keys = append(keys, generate(t, name, name, signature.Active))
	}
	sent, fields, used := sign(t, signer, r, signature.Schemes(), keys...)
	assert.Len(t, used, len(keys))
	seen := map[string]bool{}
	for _, f := range fields {
		assert.False(t, seen[f.Name], "%s stands there once", f.Name)
		assert.Equal(t, strings.ToLower(f.Name), f.Name)
		seen[f.Name] = true
	}
	in := arrived(t, sent, fields)
	in.Template = signer.Template
	for _, key := range keys {
		_, err := signature.Verify(key.Scheme, in, []signature.Verifier{verifierOf(t, key)}, r.Time, 0)
		require.NoError(t, err, key.Scheme)
	}
	for i := range in.Body {
		changed := in
		changed.Body = slices.Clone(in.Body)
		changed.Body[i] ^= 1
		for _, key := range keys {
			_, err := signature.Verify(key.Scheme, changed, []signature.Verifier{verifierOf(t, key)}, r.Time, 0)
			require.ErrorIs(t, err, signature.ErrNoMatch, "%s, byte %d", key.Scheme, i)
		}
	}
}

// TestFreshness moves the receiver's clock for every scheme that signs a time.
func TestFreshness(t *testing.T) {
	r := vectorRequest()
	r.Method, r.URL = http.MethodPost, "https://example.com/in"
	signer := signature.Signer{Template: signature.Template{Header: "X-Acme", Content: "{timestamp}.{body}"}}
	for _, name := range signature.Schemes() {
		key := generate(t, "k", name, signature.Active)
		sent, fields, _ := sign(t, signer, r, []string{name}, key)
		in := arrived(t, sent, fields)
		in.Template = signer.Template
		timed := signature.SignsTime(name) || name == signature.TemplateScheme
		for _, c := range []struct {
			after time.Duration
			want  error
		}{{0, nil}, {4 * time.Minute, nil}, {-4 * time.Minute, nil}, {6 * time.Minute, signature.ErrTooOld}, {-6 * time.Minute, signature.ErrTooNew}} {
			_, err := signature.Verify(name, in, []signature.Verifier{verifierOf(t, key)}, r.Time.Add(c.after), 0)
			if timed && c.want != nil {
				assert.ErrorIs(t, err, c.want, "%s after %s", name, c.after)
			} else {
				assert.NoError(t, err, "%s after %s", name, c.after)
			}
		}
	}
}

// TestSignatureHeadersUnderAttack spoils each header of each scheme.
func TestSignatureHeadersUnderAttack(t *testing.T) {
	r := vectorRequest()
	r.Method, r.URL = http.MethodPost, "https://example.com/in"
	r.Header = http.Header{"Content-Type": {"application/json"}}
	signer := signature.Signer{Template: signature.Template{Header: "X-Acme", Content: "{id}.{timestamp}.{body}", Separator: ",", Prefix: "v1="}}
	for _, name := range signature.Schemes() {
		key := generate(t, "k", name, signature.Active)
		sent, fields, _ := sign(t, signer, r, []string{name}, key)
		good := arrived(t, sent, fields)
		good.Template = signer.Template
		for _, f := range fields {
			switch f.Name {
			case "x-authorization-digest", "x-webhook-id", "x-shopify-webhook-id":
				continue // not signed, and not looked at
			}
			for what, spoil := range map[string]func(http.Header){
				"absent":                func(h http.Header) { h.Del(f.Name) },
				"empty":                 func(h http.Header) { h.Set(f.Name, "") },
				"doubled":               func(h http.Header) { h.Add(f.Name, f.Value) },
				"doubled by something":  func(h http.Header) { h.Add(f.Name, "x") },
				"something in front":    func(h http.Header) { h[http.CanonicalHeaderKey(f.Name)] = []string{"x", f.Value} },
				"garbage":               func(h http.Header) { h.Set(f.Name, "{}\x00=;,") },
				"cut":                   func(h http.Header) { h.Set(f.Name, f.Value[:len(f.Value)-1]) },
				"upper case":            func(h http.Header) { h.Set(f.Name, strings.ToUpper(f.Value)+"A") },
				"longer than the bound": func(h http.Header) { h.Set(f.Name, f.Value+strings.Repeat(" ", signature.MaxSignatureHeader)) },
				"10,000 signatures":     func(h http.Header) { h.Set(f.Name, strings.Repeat("v1=00,", 10_000)+f.Value) },
				"65 signatures":         func(h http.Header) { h.Set(f.Name, strings.Repeat("v1=00,", 65)+f.Value) },
			} {
				bad := good
				bad.Header = headerClone(good.Header)
				spoil(bad.Header.(http.Header))
				got, err := signature.Verify(name, bad, []signature.Verifier{verifierOf(t, key)}, r.Time, 0)
				require.Error(t, err, "%s: %s %s", name, f.Name, what)
				assert.Equal(t, signature.Verified{}, got)
				if len(f.Value) > 20 {
					assert.NotContains(t, err.Error(), f.Value[:20], "an error may be shown")
				}
			}
		}
		good.Header = nil
		_, err := signature.Verify(name, good, []signature.Verifier{verifierOf(t, key)}, r.Time, 0)
		require.ErrorIs(t, err, signature.ErrMissingHeader)
	}
	_, err := signature.Verify("v9", signature.Received{}, nil, r.Time, 0)
	require.ErrorIs(t, err, signature.ErrUnknownScheme)
}

func headerClone(h signature.Getter) http.Header { return h.(http.Header).Clone() }

// distinct is a form of n fields.
func distinct(n int) string {
	fields := make([]string, n)
	for i := range fields {
		fields[i] = strings.Repeat("a", i+1) + "=1"
	}
	return strings.Join(fields, "&")
}

// TestOneWayToWrite refuses what another verifier could read in another way.
func TestOneWayToWrite(t *testing.T) {
	now := time.Unix(vectorUnix, 0)
	gh := parse(t, "k", "github", "It's a Secret to Everybody")
	in := signature.Received{Header: http.Header{"X-Hub-Signature-256": {"sha256=757107EA0EB2509FC211221CCE984B8A37570B6D7586C22C46F4379C8B043E17"}}, Body: []byte("Hello, World!")}
	_, err := signature.Verify("github", in, []signature.Verifier{verifierOf(t, gh)}, now, 0)
	require.ErrorIs(t, err, signature.ErrNoMatch, "upper case")

	tw := parse(t, "k", "twilio", "12345")
	r := providerVectors()[7].request()
	twice := signature.Request{Method: http.MethodPost, URL: r.URL, Header: r.Header, Body: r.Body, Time: now, ID: vectorID}
	sent, fields, _ := sign(t, signature.Signer{}, twice, []string{"twilio"}, tw)
	received := arrived(t, sent, fields)
	_, err = signature.Verify("twilio", received, []signature.Verifier{verifierOf(t, tw)}, now, 0)
	require.NoError(t, err)
	received.Target += "&bodySHA256=00"
	_, err = signature.Verify("twilio", received, []signature.Verifier{verifierOf(t, tw)}, now, 0)
	require.ErrorIs(t, err, signature.ErrMissingHeader, "two digests")
	received.Target = "/myapp.php?foo=1&bar=2"
	_, err = signature.Verify("twilio", received, []signature.Verifier{verifierOf(t, tw)}, now, 0)
	require.ErrorIs(t, err, signature.ErrMissingHeader, "no digest")

	form := providerVectors()[6].request()
	for _, body := range []string{"a=1&a=2", distinct(1001), "a=%zz"} {
		form.Body = []byte(body)
		_, _, err = signature.Signer{}.Sign(form, []string{"twilio"}, ringOf(t, tw))
		require.ErrorIs(t, err, signature.ErrInvalidRequest, body[:5])
		received = arrived(t, form, []signature.Field{{Name: "x-twilio-signature", Value: "AAAA"}})
		_, err = signature.Verify("twilio", received, []signature.Verifier{verifierOf(t, tw)}, now, 0)
		require.ErrorIs(t, err, signature.ErrMalformed, body[:5])
	}

	// The same MAC fits two messages, if an id may hold the separator.
	own := parse(t, "k", "template", "secret")
	template := signature.Template{Header: "X-Acme", Content: "{id}|{body}"}
	_, fields, _ = sign(t, signature.Signer{Template: template}, signature.Request{ID: "a", Time: now, Body: []byte("b|c")}, []string{"template"}, own)
	shifted := signature.Received{Header: headerOf(fields), Body: []byte("c"), Template: template}
	shifted.Header.(http.Header).Set("webhook-id", "a|b")
	_, err = signature.Verify("template", shifted, []signature.Verifier{verifierOf(t, own)}, now, 0)
	require.ErrorIs(t, err, signature.ErrMalformed)
}
