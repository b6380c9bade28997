package receipt_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/receipt"
	"github.com/handfast/handfast/schemas"
)

// sample fills every field, so that each one stands before the schema.
func sample() receipt.Receipt {
	at := time.Date(2026, 11, 24, 9, 0, 0, 112233445, time.UTC)
	next := at.Add(5 * time.Second)
	party := func(name string) *mtls.Party {
		return &mtls.Party{
			Subject: "CN=" + name, Issuer: "CN=Test authority", Names: []string{name}, NotBefore: at.Add(-time.Hour), NotAfter: at.Add(time.Hour),
			Fingerprints: []string{strings.Repeat("0a", 32), strings.Repeat("ff", 32)},
		}
	}
	return receipt.Receipt{
		Delivery: "msg_5vqvcz6xo26cc23lefaux347s2cvtkop", Tenant: "acme", Endpoint: "orders", Attempt: 2,
		Event:   receipt.Event{Sequence: 7, Type: "com.acme.order.created", Source: "/shop/ü", ID: "42"},
		Outcome: delivery.Unavailable, Origin: delivery.Said, Status: 503, Detail: "hooks.example.com:443 answered HTTP 503", Advice: "Wait", Next: &next,
		URL: "https://hooks.example.com:443", First: at, SignedAt: at, At: at, Duration: 48 * time.Millisecond, Keys: []string{"v1=a", "v1a=b"}, Reused: true,
		Proof: &mtls.Proof{
			At: at, Authority: "hooks.example.com:443", Remote: "[2001:db8::1]:443", ServerName: "hooks.example.com", Version: "TLS 1.3",
			Cipher: "TLS_AES_128_GCM_SHA256", Curve: "X25519", ALPN: "h2", Resumed: true, Server: party("hooks.example.com"), Requested: true,
			Client: party("spiffe://acme.example/dispatcher"), AcceptableCAs: []string{"CN=Acme"}, AcceptableCount: 1, Unlisted: "it is not on the list", Revocation: "good (crl)",
			Connect: time.Millisecond, Handshake: time.Millisecond,
		},
		Trace: "4bf92f3577b34da6a3ce929d0e0e4736", Dispatcher: "dispatcher-1",
	}
}

// full fails for a field of a struct that is not set, at any depth.
func full(t *testing.T, path string, value reflect.Value) {
	t.Helper()
	if value.Kind() == reflect.Pointer {
		value = value.Elem()
	}
	if value.Kind() != reflect.Struct || value.Type() == reflect.TypeFor[time.Time]() {
		return
	}
	for i := range value.NumField() {
		if !value.Type().Field(i).IsExported() {
			continue
		}
		name := path + "." + value.Type().Field(i).Name
		require.False(t, value.Field(i).IsZero(), "the sample leaves out %s: set it here, and describe it in the schema", name)
		full(t, name, value.Field(i))
	}
}

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	schema, err := schemas.Compile("receipt")
	require.NoError(t, err)
	return schema
}

func validate(t *testing.T, schema *jsonschema.Schema, r receipt.Receipt) error {
	t.Helper()
	data, err := json.Marshal(r)
	require.NoError(t, err)
	appended, err := r.Append(nil)
	require.NoError(t, err)
	require.Equal(t, string(data), string(appended), "the dispatcher writes it the fast way")
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(appended))
	require.NoError(t, err)
	return schema.Validate(document)
}

func TestAReceiptComesBackWhole(t *testing.T) {
	t.Parallel()
	full(t, "Receipt", reflect.ValueOf(sample()))
	data, err := json.Marshal(sample())
	require.NoError(t, err)
	back, err := receipt.Parse(data)
	require.NoError(t, err)
	assert.Equal(t, sample(), back)
}

func TestReceiptsMatchTheirSchema(t *testing.T) {
	t.Parallel()
	schema := compiled(t)
	for _, outcome := range delivery.Outcomes() {
		r := sample()
		r.Outcome = outcome
		if outcome == delivery.Delivered {
			r.Status, r.Next = 204, nil
		}
		require.NoError(t, validate(t, schema, r), outcome.String())
	}
	for name, change := range map[string]func(*receipt.Receipt){
		"no connection": func(r *receipt.Receipt) {
			r.Outcome, r.Origin, r.Status, r.Proof, r.Reused = delivery.NameNotResolved, delivery.Ours, 0, nil, false
		},
		"a handshake without end": func(r *receipt.Receipt) {
			r.Proof = &mtls.Proof{At: r.At, Authority: "hooks.example.com:443", ServerName: "hooks.example.com"}
		},
		"the last one":               func(r *receipt.Receipt) { r.Next = nil },
		"the endpoint is gone":       func(r *receipt.Receipt) { r.Outcome, r.Origin, r.Status, r.URL = delivery.Gone, delivery.Ours, 0, "" },
		"replayed without its event": func(r *receipt.Receipt) { r.Event.Sequence = 0 },
		"no words, no trace":         func(r *receipt.Receipt) { r.Detail, r.Advice, r.Trace = "", "", "" },
		"in another time zone":       func(r *receipt.Receipt) { r.At = r.At.In(time.FixedZone("", -5*3600)) },
		"of no duration":             func(r *receipt.Receipt) { r.Duration = 0 },
	} {
		r := sample()
		change(&r)
		assert.NoError(t, validate(t, schema, r), name)
	}
}

func TestTheSchemaRefuses(t *testing.T) {
	t.Parallel()
	schema := compiled(t)
	for name, change := range map[string]func(*receipt.Receipt){
		"delivered without a status":       func(r *receipt.Receipt) { r.Outcome, r.Status, r.Next = delivery.Delivered, 0, nil },
		"delivered with HTTP 500":          func(r *receipt.Receipt) { r.Outcome, r.Status, r.Next = delivery.Delivered, 500, nil },
		"delivered and tried again":        func(r *receipt.Receipt) { r.Outcome, r.Status = delivery.Delivered, 200 },
		"attempt 0":                        func(r *receipt.Receipt) { r.Attempt = 0 },
		"no delivery":                      func(r *receipt.Receipt) { r.Delivery = "" },
		"a URL with its secret path":       func(r *receipt.Receipt) { r.URL += "/services/T0/secret" },
		"a URL with its secret query":      func(r *receipt.Receipt) { r.URL += "?token=1" },
		"a key that does not say its name": func(r *receipt.Receipt) { r.Keys = []string{"whsec_abc"} },
		"no list of keys":                  func(r *receipt.Receipt) { r.Keys = nil },
		"a fingerprint of another length":  func(r *receipt.Receipt) { r.Proof.Client.Fingerprints[0] = "0a" },
		"a trace that is none":             func(r *receipt.Receipt) { r.Trace = "00-4bf9" },
	} {
		r := sample()
		change(&r)
		assert.Error(t, validate(t, schema, r), name)
	}
}

func TestParseRefusesWhatProvesNothing(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		``:                    "receipt: ",
		`[]`:                  "receipt: ",
		`{"outcome":"lost"}`:  `"lost" is not an outcome`,
		`{"origin":"rumour"}`: `"rumour" is not an origin`,
		`{}`:                  "no valid delivery, tenant, endpoint, attempt, outcome, origin, at",
		`null`:                "no valid delivery, tenant",
		`{"delivery":"a.b","tenant":"acme","endpoint":"orders","attempt":1,"outcome":"gone","origin":"ours","at":"2026-11-24T09:00:00Z"}`: "no valid delivery:",
	} {
		_, err := receipt.Parse([]byte(text))
		require.ErrorContains(t, err, says, text)
	}
}

func FuzzParse(f *testing.F) {
	seed, err := json.Marshal(sample())
	require.NoError(f, err)
	f.Add(seed)
	f.Add([]byte(`{"attempt":1}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := receipt.Parse(data)
		if err != nil {
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatalf("accepted, but cannot be written: %v", err)
		}
		if _, err := receipt.Parse(again); err != nil {
			t.Fatalf("accepted, but what is written of it is not: %v", err)
		}
	})
}

func TestExamplesAreReceipts(t *testing.T) {
	t.Parallel()
	schema := compiled(t)
	files, err := filepath.Glob("../../schemas/example/receipt-*.json")
	require.NoError(t, err)
	require.Len(t, files, 2)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		r, err := receipt.Parse(text)
		require.NoError(t, err, file)
		require.NoError(t, validate(t, schema, r), file)
		written, err := json.Marshal(r)
		require.NoError(t, err)
		assert.JSONEq(t, string(text), string(written), "%s says all that we would say, and nothing else", file)
	}
}
