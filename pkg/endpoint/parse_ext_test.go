package endpoint_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
)

const full = `# every field
tenant: acme
name: orders
url: https://hooks.example.com:8443/in?token=s3cret
description: Order events
filter:
  types: ["com.acme.order.*", "com.acme.invoice.**"]
  cesql: "EXISTS amount AND amount > 100 AND region = 'eu'"
signature: {schemes: [v1a]}
tls:
  identity: eu
  trust:
    roots: system
    pins:
      - sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=
      - sha256/n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=
    revocation: hard
  server_name: Receiver.Example.com
  mutual: requested
  min_version: "1.3"
retry: {schedule: [5s, 5m, 1h30m]}
limits: {concurrency: 16, timeout: 30s}
paused: false
ordered: false
`

func parse(tb testing.TB, document string) *endpoint.Endpoint {
	tb.Helper()
	e, err := endpoint.Parse([]byte(document))
	require.NoError(tb, err)
	return e
}

func minimal(tenant, name string) string {
	return fmt.Sprintf("tenant: %s\nname: %s\nurl: https://hooks.example.com/in\n", tenant, name)
}

func TestParseEveryField(t *testing.T) {
	e := parse(t, full)
	assert.Equal(t, endpoint.Key{Tenant: "acme", Name: "orders"}, e.Key())
	assert.Equal(t, "https://hooks.example.com:8443/in?token=s3cret", e.URL.String())
	assert.Equal(t, "Order events", e.Description)
	assert.Equal(t, []string{"com.acme.order.*", "com.acme.invoice.**"}, e.Filter.Types)
	assert.Equal(t, "EXISTS amount AND amount > 100 AND region = 'eu'", e.Filter.CESQL)
	assert.Equal(t, []string{"v1a"}, e.Signature.Schemes)
	assert.Equal(t, "eu", e.TLS.Identity)
	assert.Nil(t, e.TLS.Trust.Roots)
	assert.Nil(t, e.TLS.Trust.RootsPEM)
	assert.Len(t, e.TLS.Trust.Pins, 2)
	assert.Equal(t, "receiver.example.com", e.TLS.ServerName)
	assert.Equal(t, endpoint.Requested, e.TLS.Mutual)
	assert.Equal(t, endpoint.TLS13, e.TLS.MinVersion)
	assert.Equal(t, endpoint.RevocationHard, e.TLS.Trust.Revocation)
	assert.Equal(t, []time.Duration{5 * time.Second, 5 * time.Minute, 90 * time.Minute}, e.Retry.Schedule)
	assert.Equal(t, endpoint.Limits{Concurrency: 16, Timeout: 30 * time.Second}, e.Limits)
	assert.False(t, e.Paused)
	assert.False(t, e.Ordered)
	assert.True(t, parse(t, minimal("acme", "orders")+"paused: true\n").Paused)
}

func TestParseTemplate(t *testing.T) {
	e := parse(t, minimal("acme", "orders")+`signature:
  schemes: [v1, stripe, template]
  template: {header: X-Acme-Signature, content: "{id}.{timestamp}.{body}", algorithm: hmac-sha512, encoding: base64, prefix: "v1=", separator: ",", id_header: X-Acme-Id, timestamp_header: X-Acme-Time}
`)
	assert.Equal(t, []string{"v1", "stripe", "template"}, e.Signature.Schemes)
	assert.Equal(t, endpoint.Template{
		Header: "X-Acme-Signature", Content: "{id}.{timestamp}.{body}", Algorithm: "hmac-sha512", Encoding: "base64",
		Prefix: "v1=", Separator: ",", IDHeader: "X-Acme-Id", TimestampHeader: "X-Acme-Time",
	}, e.Signature.Template)
	e = parse(t, minimal("acme", "orders")+"signature: {schemes: [template], template: {header: X-Acme, content: 'v0:{timestamp}:{body}'}}\n")
	assert.Equal(t, endpoint.Template{Header: "X-Acme", Content: "v0:{timestamp}:{body}"}, e.Signature.Template)
}

func TestParseRevocationAndVersion(t *testing.T) {
	for word, want := range map[string]endpoint.Revocation{
		"off": endpoint.RevocationOff, "'off'": endpoint.RevocationOff, "soft": endpoint.RevocationSoft, "hard": endpoint.RevocationHard,
	} {
		e := parse(t, minimal("acme", "orders")+"tls: {trust: {revocation: "+word+"}}\n")
		assert.Equal(t, want, e.TLS.Trust.Revocation, word)
		assert.Equal(t, strings.Trim(word, "'"), want.String())
	}
	for word, want := range map[string]endpoint.MinVersion{"1.2": endpoint.TLS12, "1.3": endpoint.TLS13} {
		assert.Equal(t, want, parse(t, minimal("acme", "orders")+"tls: {min_version: '"+word+"'}\n").TLS.MinVersion, word)
		assert.Equal(t, word, want.String())
	}
	assert.Equal(t, "Revocation(9)", endpoint.Revocation(9).String())
	assert.Equal(t, "MinVersion(9)", endpoint.MinVersion(9).String())
}

func TestParseDefaults(t *testing.T) {
	e := parse(t, minimal("acme", "orders"))
	assert.Equal(t, []string{"v1", "v1a"}, e.Signature.Schemes)
	assert.Equal(t, endpoint.TLS{Identity: "default", ServerName: "hooks.example.com", Mutual: endpoint.Required}, e.TLS)
	assert.Equal(t, endpoint.StandardSchedule(), e.Retry.Schedule)
	assert.Equal(t, endpoint.Limits{Concurrency: 8, Timeout: 15 * time.Second}, e.Limits)
}

func TestStandardSchedule(t *testing.T) {
	var sum time.Duration
	for _, wait := range endpoint.StandardSchedule() {
		sum += wait
	}
	assert.Len(t, endpoint.StandardSchedule(), 9, "ten attempts")
	assert.Equal(t, 75*time.Hour+35*time.Minute+5*time.Second, sum)
}

func TestLargestAcceptedSchedule(t *testing.T) {
	e := parse(t, minimal("acme", "orders")+"retry: {schedule: [48h, 48h, 48h]}\n")
	assert.Len(t, e.Retry.Schedule, 3)
	parse(t, minimal("acme", "orders")+"limits: {concurrency: 256, timeout: 60s}\n")
	parse(t, minimal("acme", "orders")+"limits: {concurrency: 1, timeout: 1s}\n")
}

func TestAuthority(t *testing.T) {
	for url, want := range map[string]string{
		"https://hooks.example.com/in":    "hooks.example.com:443",
		"HTTPS://Hooks.Example.COM:0443/": "hooks.example.com:443",
		"https://hooks.example.com:8443":  "hooks.example.com:8443",
		"https://Bücher.example/":         "xn--bcher-kva.example:443",
		"https://xn--bcher-kva.example/":  "xn--bcher-kva.example:443",
		"https://[2001:DB8:0::1]/":        "[2001:db8::1]:443",
		"https://[::ffff:192.0.2.1]:1/":   "192.0.2.1:1",
		"https://192.0.2.1/":              "192.0.2.1:443",
		"https://r3---sn-a1.example/":     "r3---sn-a1.example:443",
		"https://localhost:9443/":         "localhost:9443",
	} {
		t.Run(url, func(t *testing.T) {
			e := parse(t, "tenant: acme\nname: orders\nurl: \""+url+"\"\n")
			assert.Equal(t, want, e.Authority())
		})
	}
	e := parse(t, "tenant: acme\nname: orders\nurl: https://[2001:db8::1]:8443/\n")
	assert.Equal(t, "2001:db8::1", e.TLS.ServerName, "no brackets")
}

// visible is what can be compared: a compiled expression holds functions.
func visible(e *endpoint.Endpoint) []any {
	return []any{e.Key(), e.URL, e.Description, e.Filter.Types, e.Filter.CESQL, e.Signature, e.TLS, e.Retry, e.Limits, e.Paused, e.Ordered, e.Authority()}
}

func TestMarshalRoundTrip(t *testing.T) {
	for _, document := range []string{full, minimal("acme", "orders"), minimal("acme", "orders") + "filter: {}\nlimits: {concurrency: 8.0}\ndescription: 2020-01-01\n"} {
		first := parse(t, document)
		canonical, err := first.MarshalJSON()
		require.NoError(t, err)
		second := parse(t, string(canonical))
		assert.Equal(t, visible(first), visible(second))
		again, err := second.MarshalJSON()
		require.NoError(t, err)
		assert.Equal(t, string(canonical), string(again))

		canonical[0] = 'x'
		later, err := first.MarshalJSON()
		require.NoError(t, err)
		assert.Equal(t, again, later, "the caller's slice is its own")
	}
}

func TestMarshalInventsNothing(t *testing.T) {
	yaml, json := parse(t, minimal("acme", "orders")), parse(t, `{"url":"https://hooks.example.com/in","name":"orders", "tenant":"acme"}`)
	canonical, err := yaml.MarshalJSON()
	require.NoError(t, err)
	assert.Equal(t, `{"name":"orders","tenant":"acme","url":"https://hooks.example.com/in"}`, string(canonical)) //nolint:testifylint // byte for byte
	assert.Equal(t, yaml, json)
}

func TestZeroEndpoint(t *testing.T) {
	var zero endpoint.Endpoint
	_, err := json.Marshal(&zero)
	require.ErrorIs(t, err, endpoint.ErrNotParsed)
	matched, err := zero.Match(event{kind: "a"})
	require.ErrorIs(t, err, endpoint.ErrNotParsed)
	assert.False(t, matched)
	assert.Empty(t, zero.Authority())
}

func TestURLNeverPrints(t *testing.T) {
	e := parse(t, full)
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", slog.Any("endpoint", e))
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", slog.Any("endpoint", endpoint.Registered{Endpoint: e}))
	fmt.Fprintf(&logged, "%v %+v %#v %s", e, e, e, endpoint.Registered{Endpoint: e})
	assert.NotContains(t, logged.String(), "s3cret")
	assert.Contains(t, logged.String(), "hooks.example.com:8443")
	assert.Contains(t, logged.String(), "acme/orders")
}

func TestKey(t *testing.T) {
	key, err := endpoint.ParseKey("acme/orders")
	require.NoError(t, err)
	assert.Equal(t, endpoint.Key{Tenant: "acme", Name: "orders"}, key)
	assert.Equal(t, "acme/orders", key.String())
	for _, bad := range []string{"", "acme", "acme/", "/orders", "acme/or/ders", "Acme/orders", "acme/orders\n", "a.b/c"} {
		_, err := endpoint.ParseKey(bad)
		assert.ErrorContains(t, err, "is not the key of an endpoint", bad)
	}
}

func TestMutualString(t *testing.T) {
	assert.Equal(t, "required", endpoint.Mutual(0).String(), "the zero value is the strict one")
	assert.Equal(t, "requested", endpoint.Requested.String())
	assert.Equal(t, "Mutual(9)", endpoint.Mutual(9).String())
}

func TestByteOrderMarkAndWindowsLines(t *testing.T) {
	e := parse(t, "\xef\xbb\xbftenant: acme\r\nname: orders\r\nurl: https://h.example/\r\n")
	assert.Equal(t, "acme/orders", e.Key().String())
}
