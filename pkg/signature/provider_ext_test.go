package signature_test

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

// The published example of Slack's documentation.
const slackBody = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar" +
	"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands" +
	"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"

// providerVector is a request and what a provider, or its published formula, signs it with.
type providerVector struct {
	name, scheme, secret string
	unix                 int64
	url, content, body   string
	want                 map[string]string
}

func providerVectors() []providerVector {
	const event = `{"id":"evt_1"}`
	return []providerVector{
		{name: "GitHub, published", scheme: "github", secret: "It's a Secret to Everybody", body: "Hello, World!", want: map[string]string{
			"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
		}},
		{name: "Slack, published", scheme: "slack", secret: "8f742231b10e8888abcd99yyyzzz85a5", unix: 1531420618, body: slackBody, want: map[string]string{
			"x-slack-signature":         "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
			"x-slack-request-timestamp": "1531420618",
		}},
		{name: "Stripe, the formula of stripe-go", scheme: "stripe", secret: "whsec_test_secret", unix: 1700000000, body: event, want: map[string]string{
			"stripe-signature": "t=1700000000,v1=248a374f50f943a28b0f6ab50faf9a7e7e29b710fa26df9fb1618b9bf8ea9c9a",
		}},
		{name: "Shopify", scheme: "shopify", secret: "shared_test_secret", body: event, want: map[string]string{
			"x-shopify-hmac-sha256": "M4Y+muTErfzSOFxJAOCmpMC/1DAn29S42tA01r1XxhY=",
			"x-shopify-webhook-id":  vectorID,
		}},
		{name: "DocuSign", scheme: "docusign", secret: "shared_test_secret", body: event, want: map[string]string{
			"x-docusign-signature-1": "M4Y+muTErfzSOFxJAOCmpMC/1DAn29S42tA01r1XxhY=",
			"x-authorization-digest": "HMACSHA256",
		}},
		{name: "PagerDuty", scheme: "pagerduty", secret: "pd_test_secret", body: event, want: map[string]string{
			"x-pagerduty-signature": "v1=e849f47b0ef39d0fc581d418f06c1a87a02b691d7f2119a2db8cf83d2f1ae814",
			"x-webhook-id":          vectorID,
		}},
		{
			name: "Twilio, a form, published", scheme: "twilio", secret: "12345", url: "https://mycompany.com/myapp.php?foo=1&bar=2",
			content: "application/x-www-form-urlencoded; charset=utf-8",
			body: url.Values{
				"CallSid": {"CA1234567890ABCDE"}, "Caller": {"+14158675309"}, "Digits": {"1234"}, "From": {"+14158675309"}, "To": {"+18005551212"},
			}.Encode(),
			want: map[string]string{"x-twilio-signature": "RSOYDt4T1cUTdK1PDd93/VVr8B8="},
		},
		{
			name: "Twilio, JSON, published", scheme: "twilio", secret: "12345", url: "https://mycompany.com/myapp.php?foo=1&bar=2",
			content: "application/json", body: `{"property": "value", "boolean": true}`,
			want: map[string]string{"x-twilio-signature": "a9nBmqA0ju/hNViExpshrM61xv4="},
		},
	}
}

// request is the vector's request.
func (v providerVector) request() signature.Request {
	r := signature.Request{ID: vectorID, Time: time.Unix(max(v.unix, 1), 0), Method: http.MethodPost, URL: "https://example.com/in", Body: []byte(v.body)}
	if v.url != "" {
		r.URL = v.url
	}
	if v.content != "" {
		r.Header = http.Header{"Content-Type": {v.content}}
	}
	return r
}

// sign signs the request for the URL that it will go to, and returns that request as well.
func sign(tb testing.TB, signer signature.Signer, r signature.Request, schemes []string, keys ...signature.Key) (signature.Request, []signature.Field, []signature.Used) {
	tb.Helper()
	query, err := signature.Query(r, schemes)
	require.NoError(tb, err)
	r.URL = signature.Extend(r.URL, query)
	fields, used, err := signer.Sign(r, schemes, ringOf(tb, keys...))
	require.NoError(tb, err)
	return r, fields, used
}

// arrived is a request as a receiver sees it.
func arrived(tb testing.TB, r signature.Request, fields []signature.Field) signature.Received {
	tb.Helper()
	u, err := url.Parse(r.URL)
	require.NoError(tb, err)
	header := headerOf(fields)
	if r.Header != nil {
		header.Set("Content-Type", r.Header.Get("Content-Type"))
	}
	return signature.Received{Method: r.Method, Authority: u.Host, Target: u.RequestURI(), Header: header, Body: r.Body}
}

func TestProviderVectors(t *testing.T) {
	for _, v := range providerVectors() {
		t.Run(v.name, func(t *testing.T) {
			key, schemes := parse(t, "k1", v.scheme, v.secret), []string{v.scheme}
			sent, fields, used := sign(t, signature.Signer{}, v.request(), schemes, key)
			got := map[string]string{}
			for _, f := range fields {
				got[f.Name] = f.Value
			}
			assert.Equal(t, v.want, got)
			assert.Equal(t, []signature.Used{{Scheme: v.scheme, KeyID: "k1"}}, used)
			assert.Equal(t, v.secret, key.Reveal())
			assert.Empty(t, key.Public())
			assert.Nil(t, key.PublicKey())

			verified, err := signature.Verify(v.scheme, arrived(t, sent, fields), []signature.Verifier{verifierOf(t, key)}, v.request().Time, 0)
			require.NoError(t, err)
			want := signature.Verified{Scheme: v.scheme, KeyID: "k1"}
			if signature.SignsTime(v.scheme) {
				want.Time = v.request().Time.UTC()
			}
			if v.scheme == signature.Twilio && verified.Content != ([32]byte{}) {
				want.Content = verified.Content // only a form has one: several forms share one signature
				assert.Contains(t, v.name, "form")
			}
			assert.Equal(t, want, verified)
		})
	}
}

func TestTwilioDigestInTheURL(t *testing.T) {
	v := providerVectors()[7]
	query, err := signature.Query(v.request(), []string{"v1", "twilio"})
	require.NoError(t, err)
	assert.Equal(t, "bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620", query)
	assert.Equal(t, "/in?bodySHA256=0", signature.Extend("/in", "bodySHA256=0"))
	assert.Equal(t, "/in?a=1&bodySHA256=0", signature.Extend("/in?a=1", "bodySHA256=0"))
	assert.Equal(t, "/in", signature.Extend("/in", ""))
	query, err = signature.Query(v.request(), []string{"v1", "github"})
	require.NoError(t, err)
	assert.Empty(t, query)
	_, err = signature.Query(v.request(), []string{"v9"})
	require.ErrorIs(t, err, signature.ErrUnknownScheme)

	r, ring := v.request(), ringOf(t, parse(t, "k", "twilio", v.secret))
	_, _, err = signature.Signer{}.Sign(r, []string{"twilio"}, ring)
	require.ErrorIs(t, err, signature.ErrInvalidRequest)
	require.ErrorContains(t, err, "append what Query returns", "nothing is signed for a URL that does not carry it")
	r.URL += "&bodySHA256=00"
	_, _, err = signature.Signer{}.Sign(r, []string{"twilio"}, ring)
	require.ErrorIs(t, err, signature.ErrInvalidRequest)
	_, err = signature.Query(r, []string{"twilio"})
	require.ErrorContains(t, err, "remove it from the endpoint's url")
	for _, bad := range []string{"", "/in", "https://user@example.com/", "https://example.com/#a", "http://example.com/", "https://exa mple.com"} {
		r.URL = bad
		_, _, err = signature.Signer{}.Sign(r, []string{"twilio"}, ring)
		require.ErrorIs(t, err, signature.ErrInvalidRequest, bad)
		_, err = signature.Query(r, []string{"twilio"})
		require.ErrorIs(t, err, signature.ErrInvalidRequest, bad)
	}
}

// TestTwilioPorts has a receiver that sees its port, or does not.
func TestTwilioPorts(t *testing.T) {
	v := providerVectors()[7]
	key := parse(t, "k", "twilio", v.secret)
	signedFor := func(address string) signature.Received {
		r := v.request()
		r.URL = address
		sent, fields, _ := sign(t, signature.Signer{}, r, []string{"twilio"}, key)
		return arrived(t, sent, fields)
	}
	for _, c := range []struct {
		signed, seen string
		ok           bool
	}{
		{"https://example.com/in", "example.com:443", true},
		{"https://example.com:443/in", "example.com", true},
		{"https://example.com/in", "example.com:8443", true},
		{"https://example.com:8443/in", "example.com:8443", true},
		{"https://example.com:8443/in", "example.com", false},
		{"https://example.com/in", "example.org", false},
		{"https://[2001:db8::1]/in", "[2001:db8::1]", true},
	} {
		r := signedFor(c.signed)
		r.Authority = c.seen
		_, err := signature.Verify("twilio", r, []signature.Verifier{verifierOf(t, key)}, time.Now(), 0)
		if c.ok {
			assert.NoError(t, err, c)
		} else {
			assert.ErrorIs(t, err, signature.ErrNoMatch, c)
		}
	}
}

// TestUnknownVersionsAreReadOver is how a sender adds a version.
func TestUnknownVersionsAreReadOver(t *testing.T) {
	for _, v := range providerVectors() {
		key := parse(t, "k", v.scheme, v.secret)
		header := http.Header{}
		for name, value := range v.want {
			switch v.scheme {
			case signature.PagerDuty:
				value = "v2=abc,v1=zz,," + value
			case signature.Stripe:
				value += ",v0=00,v9=x"
			default:
				continue
			}
			header.Set(name, value)
			_, err := signature.Verify(v.scheme, signature.Received{Header: header, Body: []byte(v.body)}, []signature.Verifier{verifierOf(t, key)}, time.Unix(v.unix, 0), 0)
			if name != "x-webhook-id" {
				require.NoError(t, err, v.name)
			}
		}
	}
}

func TestStripeTimes(t *testing.T) {
	v := providerVectors()[2]
	key := parse(t, "k", v.scheme, v.secret)
	_, made, _ := strings.Cut(v.want["stripe-signature"], ",")
	for _, stamp := range []string{"", "t=,", "t=0,", "t=-1,", "t=01700000000,", "t=+1700000000,", "t=1700000000,t=1700000000,", "t=1700000000.0,", "t= 1700000000,", "t=999999999999,"} {
		header := http.Header{"Stripe-Signature": {stamp + made}}
		_, err := signature.Verify("stripe", signature.Received{Header: header, Body: []byte(v.body)}, []signature.Verifier{verifierOf(t, key)}, time.Unix(v.unix, 0), 0)
		assert.ErrorIs(t, err, signature.ErrMalformed, stamp)
	}
}

// TestDocuSignFindsAnyKey has signatures of many keys, the receiver's last.
func TestDocuSignFindsAnyKey(t *testing.T) {
	var keys []signature.Key
	for i := range 16 {
		keys = append(keys, generate(t, "k"+strconv.Itoa(i), "docusign", signature.Active))
	}
	r := vectorRequest()
	fields, _, err := signature.Signer{}.Sign(r, []string{"docusign"}, ringOf(t, keys...))
	require.NoError(t, err)
	require.Len(t, fields, 17)
	in := signature.Received{Header: headerOf(fields), Body: r.Body}
	got, err := signature.Verify("docusign", in, []signature.Verifier{verifierOf(t, keys[15])}, r.Time, 0)
	require.NoError(t, err)
	assert.Equal(t, "k15", got.KeyID)
	in.Header.(http.Header).Set("x-authorization-digest", "HMACMD5")
	_, err = signature.Verify("docusign", in, []signature.Verifier{verifierOf(t, keys[15])}, r.Time, 0)
	require.NoError(t, err, "the key decides, not what a header claims")
}

func TestWeak(t *testing.T) {
	for _, name := range signature.Schemes() {
		assert.Equal(t, name == signature.Twilio, signature.Weak(name) != "", name)
	}
}
