package signature_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

func TestTemplateWritesTheProvidersFormats(t *testing.T) {
	for _, c := range []struct {
		vector   int // of providerVectors
		template signature.Template
		header   string
	}{
		{0, signature.Template{Header: "X-Acme", Content: "{body}", Prefix: "sha256="}, "x-hub-signature-256"},
		{1, signature.Template{Header: "X-Acme", Content: "v0:{timestamp}:{body}", Prefix: "v0="}, "x-slack-signature"},
		{3, signature.Template{Header: "X-Acme", Content: "{body}", Encoding: "base64"}, "x-shopify-hmac-sha256"},
		{5, signature.Template{Header: "X-Acme", Content: "{body}", Prefix: "v1=", Separator: ","}, "x-pagerduty-signature"},
	} {
		v := providerVectors()[c.vector]
		key := parse(t, "k", signature.TemplateScheme, v.secret)
		fields, _, err := signature.Signer{Template: c.template}.Sign(v.request(), []string{"template"}, ringOf(t, key))
		require.NoError(t, err)
		assert.Equal(t, signature.Field{Name: "x-acme", Value: v.want[c.header]}, fields[0], v.name)
	}
}

func TestTemplateVerifies(t *testing.T) {
	key, other := parse(t, "k", signature.TemplateScheme, "secret"), parse(t, "o", signature.TemplateScheme, "other")
	template := signature.Template{
		Header: "X-Acme", Content: "{timestamp}|{body}|{id}", Algorithm: signature.AlgorithmSHA512, Encoding: signature.EncodingBase64,
		Prefix: "v1=", Separator: ", ", IDHeader: "X-Acme-Id", TimestampHeader: "X-Acme-Time",
	}
	assert.True(t, template.SignsID())
	assert.True(t, template.SignsTime())
	assert.False(t, template.OneKey())
	assert.True(t, signature.Template{Header: "X-Acme", Content: "{body}"}.OneKey())
	r := vectorRequest()
	fields, used, err := signature.Signer{Template: template}.Sign(r, []string{"template"}, ringOf(t, key, other))
	require.NoError(t, err)
	require.Len(t, used, 2)
	in := signature.Received{Header: headerOf(fields), Body: r.Body, Template: template}
	keys := []signature.Verifier{verifierOf(t, other)}
	got, err := signature.Verify("template", in, keys, r.Time, 0)
	require.NoError(t, err)
	assert.Equal(t, signature.Verified{ID: vectorID, Time: r.Time.UTC(), Scheme: "template", KeyID: "o"}, got)
	for what, spoil := range map[string]func(*signature.Received){
		"body":                 func(in *signature.Received) { in.Body = in.Body[1:] },
		"id":                   func(in *signature.Received) { in.Header.(http.Header).Set("X-Acme-Id", "msg_2") },
		"id with a separator":  func(in *signature.Received) { in.Header.(http.Header).Set("X-Acme-Id", vectorID+"|") },
		"time":                 func(in *signature.Received) { in.Header.(http.Header).Set("X-Acme-Time", "1614265331") },
		"another algorithm":    func(in *signature.Received) { in.Template.Algorithm = "" },
		"another encoding":     func(in *signature.Received) { in.Template.Encoding = "" },
		"another content":      func(in *signature.Received) { in.Template.Content = "{body}" },
		"another prefix":       func(in *signature.Received) { in.Template.Prefix = "v2=" },
		"another separator":    func(in *signature.Received) { in.Template.Separator = ";" },
		"no template":          func(in *signature.Received) { in.Template = signature.Template{} },
		"an invalid one":       func(in *signature.Received) { in.Template.Content = "{id}{body}" },
		"what belonged behind": func(in *signature.Received) { in.Body = append(in.Body, '|') },
	} {
		bad := in
		bad.Header = headerClone(in.Header)
		bad.Body = append([]byte{}, in.Body...)
		spoil(&bad)
		_, err := signature.Verify("template", bad, keys, r.Time, 0)
		require.Error(t, err, what)
	}
}

func TestTemplateTellsEverything(t *testing.T) {
	err := signature.Template{Header: "host", Algorithm: "md5", Encoding: "hax", Content: "{id}{body}", Prefix: " ", Separator: "ab", IDHeader: "X Y", TimestampHeader: "WEBHOOK-id"}.Validate()
	for _, words := range []string{"template.header", "template.algorithm", "template.encoding", "template.content", "template.prefix", "template.separator", "template.id_header"} {
		require.ErrorContains(t, err, words)
	}
	require.ErrorContains(t, signature.Template{Header: "webhook-id", Content: "{body}"}.Validate(), "same header field")
	require.ErrorContains(t, signature.Template{Header: "X-A", Content: "{body}", Prefix: "v1,", Separator: ","}.Validate(), "stands in the prefix")
	_, err = signature.Template{}.Scheme()
	require.Error(t, err)
	_, _, err = signature.Signer{}.Sign(vectorRequest(), []string{"template"}, ringOf(t, parse(t, "k", "template", "s")))
	require.ErrorIs(t, err, signature.ErrInvalidRequest, "without a template nothing is signed")
	scheme, err := signature.Template{Header: "X-A", Content: "{id}.{timestamp}.{body}"}.Scheme()
	require.NoError(t, err)
	for _, r := range []signature.Request{
		{ID: "a~b", Time: time.Unix(1, 0)}, {ID: "a.b", Time: time.Unix(1, 0)}, {Time: time.Unix(1, 0)}, {ID: "a"}, {ID: strings.Repeat("a", 300), Time: time.Unix(1, 0)},
	} {
		_, err = scheme.Sign(r, []signature.Key{parse(t, "k", "template", "s")})
		require.ErrorIs(t, err, signature.ErrInvalidRequest, "%q", r.ID)
	}
}
