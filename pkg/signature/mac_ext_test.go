package signature_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

const rfcShared = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="

// macOf is HMAC-SHA256 with the RFC's shared secret, with nothing of ours.
func macOf(content string) string {
	secret, _ := base64.StdEncoding.DecodeString(rfcShared)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(content))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// honest signs profileReceived over a list and with parameters of the caller's, by a signature base that is put together
// here: a sender who has the key, and signs what it likes.
func honest(components []string, params string) signature.Received {
	r := profileReceived()
	values := map[string]string{
		"@method": "POST", "@authority": "example.com", "@path": "/hooks/in", "@query": "?tenant=a", "@target-uri": "https://example.com/hooks/in?tenant=a",
		"@scheme": "https", "@request-target": "/hooks/in?tenant=a", "content-type": "application/json", "content-digest": profileDigest, "webhook-id": vectorID,
		"@status": "200", "date": "",
	}
	var base strings.Builder
	for _, name := range components {
		base.WriteString(`"` + name + `": ` + values[name] + "\n")
	}
	input := ""
	if len(components) > 0 {
		input = `"` + strings.Join(components, `" "`) + `"`
	}
	input = "(" + input + ")" + params
	base.WriteString(`"@signature-params": ` + input)
	r.Header.(http.Header).Set("signature-input", "any="+input)
	r.Header.(http.Header).Set("signature", "any=:"+macOf(base.String())+":")
	return r
}

// TestSendersWhoSignTooLittle have the key and sign correctly, so that nothing but the rules of the profile refuses them.
func TestSendersWhoSignTooLittle(t *testing.T) {
	profile := []string{"@method", "@authority", "@path", "@query", "content-type", "content-digest", "webhook-id"}
	without := func(names ...string) []string {
		var left []string
		for _, name := range profile {
			kept := true
			for _, other := range names {
				kept = kept && name != other
			}
			if kept {
				left = append(left, name)
			}
		}
		return left
	}
	const params = `;created=1618884473;tag="webhook"`
	target := append(without("@authority", "@path", "@query"), "@target-uri")
	cases := []struct {
		name       string
		components []string
		params     string
		want       error // nil: accepted
	}{
		{"the profile", profile, params, nil},
		{"the profile and more", append(without(), "@scheme", "@request-target"), params, nil},
		{"the target in place of its parts", target, params, nil},
		{"every parameter", profile, `;nonce="x";alg="hmac-sha256";created=1618884473;keyid="whose?";expires=1618884474;tag="webhook";x=1.5;y=?0`, nil},
		{"nothing", nil, params, signature.ErrNoMatch},
		{"another tag", profile, `;created=1618884473;tag="other"`, signature.ErrNoMatch},
		{"no tag", profile, `;created=1618884473`, signature.ErrNoMatch},
		{"another algorithm", profile, params + `;alg="ed25519"`, signature.ErrNoMatch},
		{"an algorithm as a token", profile, params + `;alg=hmac-sha256`, signature.ErrNoMatch},
		{"no time", profile, `;tag="webhook"`, signature.ErrMalformed},
		{"time zero", profile, `;created=0;tag="webhook"`, signature.ErrMalformed},
		{"an old time", profile, `;created=1618884172;tag="webhook"`, signature.ErrTooOld},
		{"a time to come", profile, `;created=1618884774;tag="webhook"`, signature.ErrTooNew},
		{"over", profile, `;created=1618884400;expires=1618884472;tag="webhook"`, signature.ErrTooOld},
		{"over before it began", profile, `;created=1618884473;expires=1618884472;tag="webhook"`, signature.ErrMalformed},
		{"an end that is no time", profile, `;created=1618884473;expires="never";tag="webhook"`, signature.ErrMalformed},
		{"a component twice", append(without(), "webhook-id"), params, signature.ErrMalformed},
		{"what no request has", append(without(), "@status"), params, signature.ErrMalformed},
		{"a field that is not there", append(without(), "date"), params, signature.ErrMalformed},
	}
	for _, name := range profile {
		cases = append(cases, struct {
			name       string
			components []string
			params     string
			want       error
		}{"without " + name, without(name), params, signature.ErrNoMatch})
	}
	key := parse(t, "k", signature.HTTPHMAC, rfcShared)
	for _, c := range cases {
		_, err := signature.Verify(signature.HTTPHMAC, honest(c.components, c.params), []signature.Verifier{verifierOf(t, key)}, time.Unix(profileUnix, 0), 0)
		if c.want == nil {
			require.NoError(t, err, c.name)
			continue
		}
		require.ErrorIs(t, err, c.want, c.name)
		require.NotContains(t, err.Error(), "another key", c.name+": refused by the rule, not by the signature")
	}
	named := honest(profile, params+`;keyid="another"`)
	_, err := signature.Verify(signature.HTTPHMAC, named, []signature.Verifier{verifierOf(t, key)}, time.Unix(profileUnix, 0), 0)
	require.NoError(t, err, "a name that says nothing to us is no obstacle")
	both := []signature.Verifier{verifierOf(t, key), verifierOf(t, generate(t, "another", signature.HTTPHMAC, signature.Active))}
	_, err = signature.Verify(signature.HTTPHMAC, named, both, time.Unix(profileUnix, 0), 0)
	require.ErrorIs(t, err, signature.ErrNoMatch, "signed with one key in the name of another")
	r := honest(profile, params)
	r.Body = []byte(`{"hello": "moon!"}`)
	_, err = signature.Verify(signature.HTTPHMAC, r, []signature.Verifier{verifierOf(t, key)}, time.Unix(profileUnix, 0), 0)
	require.ErrorContains(t, err, "content-digest", "the signature covers the digest, and the digest the body")
}
