package dispatcher

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/mtls"
)

func asking(tb testing.TB, setting string) endpoint.Registered {
	tb.Helper()
	e, err := endpoint.Parse([]byte("tenant: acme\nname: orders\nurl: https://hooks.example.com/secret\nactivation: " + setting))
	require.NoError(tb, err)
	return endpoint.Registered{Endpoint: e, Revision: 1}
}

const adobe = "{kind: adobe-sign, client_id: CBJ}"

func TestTheQuestionIsThatOfTheSpecification(t *testing.T) {
	method, header := question(asking(t, "{kind: cloudevents, origin: A.example}").Activation)
	assert.Equal(t, http.MethodOptions, method)
	assert.Equal(t, http.Header{"WebHook-Request-Origin": {"a.example"}}, header)
	_, header = question(asking(t, "{kind: cloudevents, origin: a.example, rate: 7}").Activation)
	assert.Equal(t, http.Header{"WebHook-Request-Origin": {"a.example"}, "WebHook-Request-Rate": {"7"}}, header)
	method, header = question(asking(t, adobe).Activation)
	assert.Equal(t, http.MethodGet, method)
	assert.Equal(t, http.Header{"X-AdobeSign-ClientId": {"CBJ"}}, header)
}

func TestAMessageNamesUsOnce(t *testing.T) {
	given := http.Header{"webhook-id": {"msg_1"}, "x-adobesign-clientid": {"forged"}, "X-ADOBESIGN-CLIENTID": {"forged", "again"}}
	out := marked(given, asking(t, adobe).Activation)
	assert.Equal(t, http.Header{"webhook-id": {"msg_1"}, "X-AdobeSign-ClientId": {"CBJ"}}, out)
	assert.Len(t, given, 3, "the message itself is not touched")
	assert.Equal(t, given, marked(given, endpoint.Activation{}))
}

func TestNoWordOfConsentNamesThePath(t *testing.T) {
	for _, setting := range []string{adobe, "{kind: cloudevents, origin: a.example}"} {
		for _, status := range []int{200, 204, 301, 403, 404, 500} {
			_, refusal := consent(asking(t, setting), &mtls.Response{Status: status, Header: http.Header{}}, time.Now())
			require.NotNil(t, refusal)
			assert.Equal(t, delivery.NotActivated, refusal.Outcome)
			assert.Equal(t, status, refusal.Status)
			assert.NotContains(t, refusal.Detail+refusal.Advice, "secret")
			assert.Contains(t, refusal.Advice, "handfast endpoint activate acme/orders")
		}
	}
}

func TestOnlyADeliveryIsAcknowledged(t *testing.T) {
	to := asking(t, adobe)
	echoed := &mtls.Response{Status: 200, Header: http.Header{}}
	echoed.Header.Set("X-AdobeSign-ClientId", "CBJ")
	for outcome, want := range map[delivery.Outcome]delivery.Outcome{
		delivery.Delivered: delivery.NotAcknowledged, delivery.Rejected: delivery.Rejected, delivery.Gone: delivery.Gone, delivery.TimedOut: delivery.TimedOut,
	} {
		v := delivery.Verdict{Outcome: outcome}
		acknowledge(to, &mtls.Response{Status: 200, Header: http.Header{}}, &v)
		assert.Equal(t, want, v.Outcome)
		v = delivery.Verdict{Outcome: outcome}
		acknowledge(to, echoed, &v)
		assert.Equal(t, outcome, v.Outcome)
	}
	v := delivery.Verdict{Outcome: delivery.TimedOut}
	acknowledge(to, nil, &v) // there was no response
	assert.Equal(t, delivery.TimedOut, v.Outcome)
	v = delivery.Verdict{Outcome: delivery.Delivered}
	acknowledge(asking(t, "{kind: cloudevents, origin: a.example}"), &mtls.Response{Status: 200}, &v)
	assert.Equal(t, delivery.Delivered, v.Outcome, "nobody else has to echo anything")
}

func TestAMemberIsFoundInWhatThereIsOfABody(t *testing.T) {
	for body, want := range map[string]string{
		`{"id":"CBJ"}`:                       "CBJ",
		` {"a":[{"id":"no"}],"id":"CBJ"}`:    "CBJ",
		`{"id":"CBJ","rest":"cut of`:         "CBJ",
		`{"id":"C\u0042J"}`:                  "CBJ",
		`{"id":"CBJ","id":"CBJ"}`:            "",
		`{"id":"CBJ","id":7}`:                "",
		`{"id":7}`:                           "",
		`{"ID":"CBJ"}`:                       "",
		`{"id":"CB`:                          "",
		`["id","CBJ"]`:                       "",
		`"CBJ"`:                              "",
		``:                                   "",
		`{"id"`:                              "",
		strings.Repeat(`{"a":`, 1000) + `{}`: "",
	} {
		got, _ := member([]byte(body), "id")
		assert.Equal(t, want, got, body)
	}
}

func FuzzMember(f *testing.F) {
	for _, seed := range []string{`{"id":"x"}`, `{"id":"x","id":"y"}`, `{"a":{"id":"x"}}`, `{"id":"x"`, `[]`, ``, `{"id":null}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, found := member(body, "id")
		if !found {
			assert.Empty(t, got)
			return
		}
		var whole map[string]json.RawMessage
		if json.Unmarshal(body, &whole) == nil {
			var value string
			require.NoError(t, json.Unmarshal(whole["id"], &value))
			assert.Equal(t, value, got)
		}
	})
}

func FuzzPermission(f *testing.F) {
	f.Add("webhooks.acme.example", "120")
	f.Add("*", "*")
	f.Add(" * ", "0")
	f.Add("", "+5")
	f.Fuzz(func(t *testing.T, origin, rate string) {
		a := endpoint.Activation{Kind: endpoint.CloudEventsActivation, Origin: "webhooks.acme.example", Rate: 60}
		header := http.Header{}
		header.Add("WebHook-Allowed-Origin", origin)
		header.Add("WebHook-Allowed-Rate", rate)
		_, perMinute, reason := permission(a, header)
		if reason != "" {
			return
		}
		name := strings.TrimSpace(origin)
		assert.True(t, name == "*" || strings.EqualFold(name, a.Origin), origin)
		assert.GreaterOrEqual(t, perMinute, 0)
		assert.Equal(t, perMinute == 0, strings.TrimSpace(rate) == "*")
	})
}

// TestConsentCountsWhateverTheClocksSay has the receiver switch us off by the clock of a dispatcher that is ahead of the
// one that asks, after the document was applied again. If that consent did not count, the receiver would be asked again,
// and again, without a pause.
func TestConsentCountsWhateverTheClocksSay(t *testing.T) {
	now := start()
	agrees := &mtls.Response{Status: http.StatusOK, Header: http.Header{}}
	agrees.Header.Set("WebHook-Allowed-Origin", "*")
	for _, ahead := range []time.Duration{-time.Hour, 0, time.Hour} {
		to := asking(t, "{kind: cloudevents, origin: a.example}")
		to.Revision = 2
		to.Status.Disabled = &endpoint.Disabled{At: now.Add(ahead), Revision: 1}
		require.False(t, to.Activated())
		given, refusal := consent(to, agrees, now)
		require.Nil(t, refusal)
		to.Status.Activation = &given
		assert.True(t, to.Activated(), "switched off by a clock that is %s ahead", ahead)
	}
}
