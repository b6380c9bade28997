package conformance

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/remitly-oss/httpsig-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/schemas"
	"github.com/handfast/handfast/tests/kit"
)

// judged are the schemes that have a judge here; v1 and v1a have theirs in standard_test.go.
func judged() []string {
	var names []string
	for _, name := range signature.Schemes() {
		if judgeOf(name) != nil {
			names = append(names, name)
		}
	}
	return names
}

// TestOthersVerifyLiveDeliveries signs one delivery by every scheme side by side, and lets the code of others judge it as
// it came, and with anything changed.
func TestOthersVerifyLiveDeliveries(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(503, 200))
		w.Apply(r.Document("acme", "orders", func(document map[string]any) {
			document["signature"] = map[string]any{"schemes": append(judged(), signature.V1)}
		}))
		w.Start()
		w.Pass(time.Second)
		w.Publish("acme", "com.acme.order.created", `{"customer":"Zoë","total":1.10}`)
		w.Pass(6 * time.Second)

		require.Equal(t, []delivery.Outcome{delivery.Unavailable, delivery.Delivered}, w.Outcomes())
		keys := w.Keys(endpoint.Key{Tenant: "acme", Name: "orders"})
		for _, hit := range r.Hits() {
			for _, scheme := range judged() {
				key := ofScheme(t, keys, scheme)
				require.NoError(t, judgeOf(scheme)(key, requestOf(t, hit, hit.Header), hit.Body), "%s, as it came", scheme)
				stranger, err := signature.GenerateKey(scheme, time.Now(), strings.NewReader(strings.Repeat("another key than that ", 9)))
				require.NoError(t, err)
				stranger.ID = key.ID
				require.Error(t, judgeOf(scheme)(stranger, requestOf(t, hit, hit.Header), hit.Body), "%s, a key of somebody else", scheme)
				for i := range hit.Body {
					changed := bytes.Clone(hit.Body)
					changed[i] ^= 1
					require.Error(t, judgeOf(scheme)(key, requestOf(t, hit, hit.Header), changed), "%s, byte %d of the body", scheme, i)
				}
			}
			for _, name := range []string{"Webhook-Id", "Content-Type", "Content-Digest"} {
				header := hit.Header.Clone()
				header.Set(name, header.Get(name)+"x")
				require.Error(t, judgeMessage(ofScheme(t, keys, signature.HTTPEd25519), requestOf(t, hit, header), hit.Body), name)
			}
		}
	})
}

// requestOf is the request as the receiver's server had it.
func requestOf(t *testing.T, hit kit.Hit, header http.Header) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://hooks.example.com/hooks?source=handfast", http.NoBody)
	require.NoError(t, err)
	r.Header = header.Clone()
	return r
}

// TestOthersSignAndWeVerify is the other direction: a request that httpsig-go signed.
func TestOthersSignAndWeVerify(t *testing.T) {
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	key, err := signature.GenerateKey(signature.HTTPEd25519, time.Now(), bytes.NewReader(bytes.Repeat([]byte{7}, 64)))
	require.NoError(t, err)
	require.Equal(t, private.Public(), key.PublicKey())
	verifier, err := signature.ParsePublicKey(signature.HTTPEd25519, key.Public())
	require.NoError(t, err)
	body := []byte(`{"hello": "world"}`)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://example.com/hooks/in?tenant=a", bytes.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Webhook-Id", "msg_1")
	require.NoError(t, httpsig.Sign(r, httpsig.SigningProfile{
		Algorithm: httpsig.Algo_ED25519, Digest: httpsig.DigestSHA512, Label: "theirs",
		Fields:   httpsig.Fields("webhook-id", "content-digest", "@query", "@path", "@authority", "@method", "content-type"),
		Metadata: []httpsig.Metadata{httpsig.MetaTag, httpsig.MetaKeyID, httpsig.MetaCreated, httpsig.MetaExpires, httpsig.MetaNonce},
	}, httpsig.SigningKey{Key: private, MetaKeyID: "their name of the key", MetaTag: signature.MessageTag}))
	in := signature.Received{Method: r.Method, Authority: r.Host, Target: r.URL.RequestURI(), Header: r.Header, Body: body}
	got, err := signature.Verify(signature.HTTPEd25519, in, []signature.Verifier{verifier}, time.Now(), 0)
	require.NoError(t, err)
	assert.Equal(t, "msg_1", got.ID)
	in.Target = "/hooks/other?tenant=a"
	_, err = signature.Verify(signature.HTTPEd25519, in, []signature.Verifier{verifier}, time.Now(), 0)
	require.ErrorIs(t, err, signature.ErrNoMatch)
}

// TestTemplateByItsFormula writes headers of one's own and computes them with the standard library.
func TestTemplateByItsFormula(t *testing.T) {
	key, err := signature.ParseSecret(signature.TemplateScheme, "a secret with spaces")
	require.NoError(t, err)
	key.State = signature.Active
	ring, err := signature.NewRing(key)
	require.NoError(t, err)
	wide := hmac.New(sha512.New, []byte("a secret with spaces"))
	wide.Write([]byte(`{"a":1};1614265330`))
	for _, c := range []struct {
		template signature.Template
		want     map[string]string
	}{
		{signature.Template{Header: "X-Acme", Content: "{body}"}, map[string]string{"x-acme": hex.EncodeToString(mac(key, "", []byte(`{"a":1}`), ""))}},
		{signature.Template{Header: "X-Acme", Content: "{body};{timestamp}", Algorithm: "hmac-sha512", Encoding: "base64", Prefix: "v1="}, map[string]string{
			"x-acme": "v1=" + base64.StdEncoding.EncodeToString(wide.Sum(nil)), "webhook-timestamp": "1614265330",
		}},
		{signature.Template{Header: "X-Acme", Content: "{id}.{timestamp}.{body}", IDHeader: "X-Id", TimestampHeader: "X-Time"}, map[string]string{
			"x-acme": hex.EncodeToString(mac(key, "msg_1.1614265330.", []byte(`{"a":1}`), "")), "x-id": "msg_1", "x-time": "1614265330",
		}},
	} {
		fields, _, err := signature.Signer{Template: c.template}.Sign(signature.Request{ID: "msg_1", Time: time.Unix(1614265330, 0), Body: []byte(`{"a":1}`)}, []string{"template"}, ring)
		require.NoError(t, err)
		got := map[string]string{}
		for _, f := range fields {
			got[f.Name] = f.Value
		}
		assert.Equal(t, c.want, got)
	}
}

// TestTheSchemaListsEveryScheme holds the document of an endpoint against what can be signed.
func TestTheSchemaListsEveryScheme(t *testing.T) {
	text, err := schemas.Get("endpoint")
	require.NoError(t, err)
	var schema struct {
		Properties struct {
			Signature struct {
				Properties struct {
					Schemes struct {
						Items struct {
							Enum []string `json:"enum"`
						} `json:"items"`
						Default []string `json:"default"`
					} `json:"schemes"`
				} `json:"properties"`
			} `json:"signature"`
		} `json:"properties"`
	}
	require.NoError(t, json.Unmarshal(text, &schema))
	schemes := schema.Properties.Signature.Properties.Schemes
	assert.Equal(t, signature.Schemes(), schemes.Items.Enum)
	assert.Equal(t, signature.Standard(), schemes.Default)
	_, err = endpoint.Parse([]byte(`{"tenant":"a","name":"b","url":"https://example.com","signature":{"schemes":["v9"]}}`))
	require.ErrorContains(t, err, strings.Join(signature.Schemes()[:12], ", ")+" and template")
}

// TestTemplatesAreJudgedAlike holds the rules of an endpoint's document against those of the signer, so that a document
// that was accepted can be signed.
func TestTemplatesAreJudgedAlike(t *testing.T) {
	headers := []string{"", "X-Acme", "x_acme", "Host", "X Acme", "X-Acmé", "Webhook-ID", "webhook-timestamp", "webhook-signature", "X-Hub-Signature-256", "X-DocuSign-Signature-1", "Handfast-X", "signature", strings.Repeat("x", 65)}
	contents := []string{
		"", "{body}", "{id}{body}", "{id}.{body}", "{id}a.{body}", "{id}.a{body}", "{id}.a.{body}", "a{body}b", "{body}{body}", "{id}", "{timestamp}:{body}:{id}",
		"{timestamp}\n{body}", "\x01:{body}", "{ body}", "{body}}", "é{body}", "v0:{timestamp}:{body}", strings.Repeat("x", 250) + "{body}", strings.Repeat("x", 251) + "{body}",
	}
	texts := []string{"", ",", " ", ", ", "a", "=", "v1=", "\t", "é", " x", strings.Repeat("-", 33)}
	var cases []endpoint.Template
	for _, header := range headers {
		cases = append(cases, endpoint.Template{Header: header, Content: "{body}"}, endpoint.Template{Header: "X-Acme", IDHeader: header, Content: "{body}"},
			endpoint.Template{Header: "X-Acme", TimestampHeader: header, Content: "{body}"}, endpoint.Template{Header: header, IDHeader: header, Content: "{body}"})
	}
	for _, content := range contents {
		cases = append(cases, endpoint.Template{Header: "X-Acme", Content: content})
	}
	for _, a := range texts {
		for _, b := range texts {
			cases = append(cases, endpoint.Template{Header: "X-Acme", Content: "{body}", Prefix: a, Separator: b},
				endpoint.Template{Header: "X-Acme", Content: "{body}", Algorithm: a, Encoding: b})
		}
	}
	accepted := 0
	for _, c := range cases {
		given := map[string]string{}
		for name, value := range map[string]string{
			"header": c.Header, "content": c.Content, "algorithm": c.Algorithm, "encoding": c.Encoding, "prefix": c.Prefix,
			"separator": c.Separator, "id_header": c.IDHeader, "timestamp_header": c.TimestampHeader,
		} {
			if value != "" {
				given[name] = value
			}
		}
		document, err := json.Marshal(map[string]any{
			"tenant": "acme", "name": "orders", "url": "https://hooks.example.com/in",
			"signature": map[string]any{"schemes": []string{"template"}, "template": given},
		})
		require.NoError(t, err)
		parsed, refused := endpoint.Parse(document)
		problem := signature.Template(c).Validate()
		require.Equal(t, refused == nil, problem == nil, "%+v\ndocument: %v\nsigner: %v", c, refused, problem)
		if refused == nil {
			accepted++
			assert.Equal(t, c, parsed.Signature.Template)
		}
	}
	assert.Greater(t, accepted, 10, "the table is not all mistakes")
}
