package endpoint_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
)

const askedURL = "tenant: acme\nname: orders\nurl: https://hooks.example.com/in?x=1\n"

func asked(t *testing.T, rest string) *endpoint.Endpoint {
	t.Helper()
	e, err := endpoint.Parse([]byte(askedURL + rest))
	require.NoError(t, err)
	return e
}

func TestActivationIsRead(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]endpoint.Activation{
		"": {},
		"activation: {kind: cloudevents, origin: Webhooks.ACME.example}": {Kind: endpoint.CloudEventsActivation, Origin: "webhooks.acme.example"},
		"activation: {kind: cloudevents, origin: a.example, rate: 120}":  {Kind: endpoint.CloudEventsActivation, Origin: "a.example", Rate: 120},
		"activation: {kind: adobe-sign, client_id: CBJ}":                 {Kind: endpoint.AdobeSignActivation, ClientID: "CBJ"},
	} {
		assert.Equal(t, want, asked(t, given).Activation, given)
	}
}

func TestActivationIsRefusedInWords(t *testing.T) {
	t.Parallel()
	for given, want := range map[string][]string{
		"{}":                  {"activation.kind: is required: write cloudevents or adobe-sign"},
		"{kind: azure}":       {`activation.kind: "azure" is not a choice; choose cloudevents or adobe-sign`},
		"{kind: cloudevents}": {"activation.origin: is required by kind cloudevents: write the DNS name by which the receiver knows you, such as webhooks.acme.example"},
		"{kind: cloudevents, origin: a_b.example}": {`activation.origin: "a_b.example" contains an underscore, which no certificate can name: use a hyphen`},
		"{kind: cloudevents, origin: \"*\"}":       {`activation.origin: "*" holds a wildcard: write one name`},
		"{kind: cloudevents, origin: a.example, rate: 0}": {
			"activation.rate: 0 is out of range: use a whole number of requests per minute, from 1 to 1000000",
		},
		"{kind: cloudevents, origin: a.example, client_id: x}": {"activation.client_id: means nothing to kind cloudevents: remove it"},
		"{kind: adobe-sign, origin: a.example, rate: 3}": {
			"activation.client_id: is required by kind adobe-sign: write the client id that the receiver expects, 1 to 256 visible ASCII characters",
			"activation.origin: means nothing to kind adobe-sign: remove it",
			"activation.rate: means nothing to kind adobe-sign: remove it",
		},
		"{kind: adobe-sign, client_id: \"a b\"}": {
			`activation.client_id: "a b" is not allowed: write the client id that the receiver expects, 1 to 256 visible ASCII characters`,
		},
		"{kind: cloudevents, origin: a.example, callback: \"https://x\"}": {
			"activation.callback: is not available: a receiver that grants permission later, by a callback, is asked again by `handfast endpoint activate` when it has; remove it",
		},
	} {
		_, err := endpoint.Parse([]byte(askedURL + "activation: " + given))
		var invalid *endpoint.InvalidError
		require.ErrorAs(t, err, &invalid, given)
		var got []string
		for _, p := range invalid.Problems {
			got = append(got, p.String())
		}
		assert.Equal(t, want, got, given)
	}
}

func TestConsentIsForOneReceiverAndOneQuestion(t *testing.T) {
	t.Parallel()
	const setting = "activation: {kind: cloudevents, origin: a.example, rate: 60}\n"
	mark := asked(t, setting).ActivationMark()
	require.NotEmpty(t, mark)
	assert.Empty(t, asked(t, "").ActivationMark())
	assert.Equal(t, mark, asked(t, setting+"description: other\nlimits: {timeout: 5s}\n").ActivationMark(), "this is not the receiver's business")
	seen := map[string]string{mark: setting}
	for _, other := range []string{
		"activation: {kind: cloudevents, origin: b.example, rate: 60}\n", "activation: {kind: cloudevents, origin: a.example, rate: 61}\n",
		"activation: {kind: adobe-sign, client_id: x}\n", "activation: {kind: adobe-sign, client_id: y}\n",
		setting + "tls: {identity: other}\n", setting + "tls: {server_name: other.example}\n", setting + "tls: {mutual: requested}\n",
	} {
		got := asked(t, other).ActivationMark()
		assert.Empty(t, seen[got], other)
		seen[got] = other
	}
	elsewhere, err := endpoint.Parse([]byte("tenant: acme\nname: orders\nurl: https://hooks.example.com/in?x=2\n" + setting))
	require.NoError(t, err)
	assert.NotEqual(t, mark, elsewhere.ActivationMark())
}

func TestNothingGoesBeforeConsent(t *testing.T) {
	t.Parallel()
	e := asked(t, "activation: {kind: cloudevents, origin: a.example}")
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	given := &endpoint.Activated{Mark: e.ActivationMark(), Since: at, Rate: 30, Said: "yes"}
	other := &endpoint.Activated{Mark: "other", Since: at}
	for name, c := range map[string]struct {
		status  endpoint.Status
		waiting bool
		asking  int
	}{
		"not asked yet":            {endpoint.Status{}, true, 1},
		"agreed":                   {endpoint.Status{Activation: given}, false, 0},
		"agreed to something else": {endpoint.Status{Activation: other}, true, 1},
		"agreed, and held":         {endpoint.Status{Activation: given, Held: &endpoint.Held{Since: at}}, true, 0},
		"disabled: what comes ends as a dead letter": {endpoint.Status{Disabled: &endpoint.Disabled{At: at, Revision: 7}}, false, 0},
		"agreed before it was switched off":          {endpoint.Status{Activation: given, Disabled: &endpoint.Disabled{At: at.Add(time.Second), Revision: 6}}, true, 1},
		"agreed after it was switched on again":      {endpoint.Status{Activation: given, Disabled: &endpoint.Disabled{At: at.Add(-time.Second), Revision: 6}}, false, 0},
	} {
		var r endpoint.Registry
		r.Put(e, 7)
		r.SetStatus(e.Key(), c.status)
		got, ok := r.Get(e.Key())
		require.True(t, ok)
		assert.Equal(t, c.waiting, got.Waiting(), name)
		assert.Len(t, r.Asking(), c.asking, name)
		r.Delete(e.Key())
		assert.Empty(t, r.Asking())
	}
}

func TestConsentIsStored(t *testing.T) {
	t.Parallel()
	e := asked(t, "activation: {kind: cloudevents, origin: a.example}")
	var r endpoint.Registry
	r.Put(e, 1)
	given := endpoint.Activated{Mark: e.ActivationMark(), Since: time.Now().UTC(), Rate: 30, Said: "yes"}
	r.UpdateStatus(e.Key(), func(s *endpoint.Status) { s.Activation = &given })
	given.Mark = "changed afterwards"
	got, _ := r.Get(e.Key())
	assert.True(t, got.Activated())
	assert.Equal(t, 30, got.Rate())
	text, err := json.Marshal(got.Status)
	require.NoError(t, err)
	var back endpoint.Status
	require.NoError(t, json.Unmarshal(text, &back))
	assert.Equal(t, got.Status, back)
	plain := asked(t, "")
	r.Put(plain, 2)
	got, _ = r.Get(e.Key())
	assert.True(t, got.Activated(), "nothing is asked any more")
	assert.Zero(t, got.Rate())
	assert.Empty(t, r.Asking())
}
