package delivery_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/schemas"
)

// validate checks a real value, as it is marshalled, against a schema.
func validate(t *testing.T, schema *jsonschema.Schema, value any) error {
	t.Helper()
	data, err := json.Marshal(value)
	require.NoError(t, err)
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	require.NoError(t, err)
	return schema.Validate(document)
}

// letters are one as the dispatcher writes it when a delivery ends, and one as the signer does for a refused message.
func letters(outcome delivery.Outcome) (buried, refused delivery.DeadLetter) {
	buried = delivery.DeadLetter{
		Tenant: "acme", Endpoint: "orders", Delivery: fixed().ID, Attempt: 10, Event: 7, Outcome: &outcome,
		Reasons: []string{"all 10 attempts are used up"}, URL: "https://[2001:db8::1]:8443", Header: http.Header{"webhook-id": {"x"}},
		Body: delivery.NewBody([]byte(`{"order":1}`)), First: stored(), At: stored().Add(76 * time.Hour),
	}
	refused = delivery.DeadLetter{
		Subject: "events.acme.x", Tenant: "acme", Event: 8, Reasons: []string{"ce-id: is missing"},
		Body: delivery.NewBody([]byte{0xff, 0}), First: stored(), At: stored(),
	}
	return buried, refused
}

func TestDeadLettersMatchTheirSchema(t *testing.T) {
	t.Parallel()
	schema, err := schemas.Compile("deadletter")
	require.NoError(t, err)
	for _, outcome := range delivery.Outcomes() {
		buried, refused := letters(outcome)
		assert.NoError(t, validate(t, schema, buried), outcome.String())
		assert.NoError(t, validate(t, schema, refused))
	}
	for name, change := range map[string]func(buried, refused *delivery.DeadLetter){
		"the endpoint is gone":        func(b, _ *delivery.DeadLetter) { b.URL, b.Header, b.Body = "", nil, delivery.Body{} },
		"the event has aged out":      func(b, _ *delivery.DeadLetter) { b.Event = 0 },
		"a foreign record":            func(_, r *delivery.DeadLetter) { r.Tenant, r.Event, r.First = "", 0, time.Time{} },
		"too large to repeat":         func(_, r *delivery.DeadLetter) { r.Header, r.Body = nil, delivery.Body{Omitted: 900_000} },
		"a time with its time zone":   func(b, _ *delivery.DeadLetter) { b.At = b.At.In(time.FixedZone("", 3600)) },
		"a time with its nanoseconds": func(b, _ *delivery.DeadLetter) { b.At = b.At.Add(1) },
	} {
		buried, refused := letters(delivery.Gone)
		change(&buried, &refused)
		assert.NoError(t, validate(t, schema, buried), name)
		assert.NoError(t, validate(t, schema, refused), name)
	}
	for name, change := range map[string]func(*delivery.DeadLetter){
		"no reason":                 func(b *delivery.DeadLetter) { b.Reasons = nil },
		"neither of the two":        func(b *delivery.DeadLetter) { b.Delivery = "" },
		"both of the two":           func(b *delivery.DeadLetter) { b.Subject = "events.acme.x" },
		"no outcome":                func(b *delivery.DeadLetter) { b.Outcome = nil },
		"a URL with its secret":     func(b *delivery.DeadLetter) { b.URL = "https://hooks.example.com:443/T0/secret" },
		"a body that is two bodies": func(b *delivery.DeadLetter) { b.Body.Base64 = []byte("x") },
		"a name that is none":       func(b *delivery.DeadLetter) { b.Tenant = "Acme!" },
	} {
		buried, _ := letters(delivery.Gone)
		change(&buried)
		assert.Error(t, validate(t, schema, buried), name)
	}
}

// TestTheSchemasKnowEveryOutcome compares the closed list with the one in the schema, in both directions and in order.
func TestTheSchemasKnowEveryOutcome(t *testing.T) {
	t.Parallel()
	text, err := schemas.Get("receipt")
	require.NoError(t, err)
	var document struct {
		Defs struct {
			Outcome struct {
				Enum []delivery.Outcome `json:"enum"`
			} `json:"outcome"`
		} `json:"$defs"`
		Properties struct {
			Origin struct {
				Enum []delivery.Origin `json:"enum"`
			} `json:"origin"`
		} `json:"properties"`
	}
	require.NoError(t, json.Unmarshal(text, &document))
	assert.Equal(t, delivery.Outcomes(), document.Defs.Outcome.Enum)
	assert.Equal(t, []delivery.Origin{delivery.Said, delivery.Inferred, delivery.Ours}, document.Properties.Origin.Enum)

	dead, err := schemas.Get("deadletter")
	require.NoError(t, err)
	assert.Contains(t, string(dead), `"receipt.schema.json#/$defs/outcome"`, "there is one list, not two")
}

func TestExamplesAreDeadLetters(t *testing.T) {
	t.Parallel()
	schema, err := schemas.Compile("deadletter")
	require.NoError(t, err)
	files, err := filepath.Glob("../../schemas/example/deadletter-*.json")
	require.NoError(t, err)
	require.Len(t, files, 2)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var letter delivery.DeadLetter
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		require.NoError(t, decoder.Decode(&letter), file)
		require.NoError(t, validate(t, schema, letter), file)
		written, err := json.Marshal(letter)
		require.NoError(t, err)
		assert.JSONEq(t, string(text), string(written), "%s says all that we would say", file)
	}
}
