package delivery_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
)

func TestNewID(t *testing.T) {
	t.Parallel()
	digest := [32]byte{1, 2, 3}
	assert.Equal(t, delivery.ID("msg_5vqvcz6xo26cc23lefaux347s2cvtkop"), delivery.NewID(digest, endpoint.Key{Tenant: "acme", Name: "orders"}),
		"it is for life: receivers have stored it")
	seen := map[delivery.ID]string{}
	for _, key := range []endpoint.Key{
		{Tenant: "ab", Name: "c"}, {Tenant: "a", Name: "bc"}, {Tenant: "abc"}, {Name: "abc"}, {Tenant: "a", Name: "b/c"}, {Tenant: "a/b", Name: "c"},
	} {
		for _, event := range [][32]byte{{}, {1}, digest} {
			id := delivery.NewID(event, key)
			assert.Empty(t, seen[id], "%s has the id of another delivery", key)
			seen[id] = key.String()
			assert.Equal(t, id, delivery.NewID(event, key), "the same again")
			assert.True(t, id.Valid())
			assert.NotContains(t, string(id), ".", "the separator of the signed content")
			assert.Len(t, string(id), 36)
			assert.Equal(t, strings.ToLower(string(id)), string(id), "whoever folds case changes nothing")
		}
	}
}

func TestIDFromOutside(t *testing.T) {
	t.Parallel()
	for id, valid := range map[delivery.ID]bool{
		"a": true, "msg_A-z9": true, delivery.ID(strings.Repeat("x", 64)): true,
		"": false, delivery.ID(strings.Repeat("x", 65)): false, "a.b": false, "a b": false, "*": false, ">": false, "a\r\n": false, "ä": false,
	} {
		assert.Equal(t, valid, id.Valid(), "%q", id)
	}
}

func record() delivery.Retry {
	return delivery.Retry{
		Delivery: "msg_1", Tenant: "acme", Endpoint: "orders", Event: 7, Attempt: 5, Base: 1, Held: 2, Resigned: 3,
		First: stored().Add(time.Nanosecond), Schema: "urn:s:1", Outcome: delivery.NoIdentity, Previous: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		Inline: &delivery.Inline{ContentType: "application/json", Body: []byte("\xff{}"), Type: "a.b", Source: "/s", ID: "1", Stamp: "k.m"},
	}
}

func TestARecordComesBackWhole(t *testing.T) {
	t.Parallel()
	value := reflect.ValueOf(record())
	for i := range value.NumField() {
		require.False(t, value.Field(i).IsZero(), "the sample leaves out %s", value.Type().Field(i).Name)
	}
	data, err := json.Marshal(record())
	require.NoError(t, err)
	got, err := delivery.ParseRetry(data)
	require.NoError(t, err)
	assert.Equal(t, record(), got)
}

// TestARecordCarriesItsDelivery goes through the record and back; only what the step changes may differ.
func TestARecordCarriesItsDelivery(t *testing.T) {
	t.Parallel()
	d := delivery.Delivery{
		ID: "msg_1", Endpoint: endpoint.Key{Tenant: "acme", Name: "orders"}, Event: 7, Attempt: 9, Base: 2, Held: 3, Resigned: 1, First: stored(),
	}
	r := delivery.NewRetry(d, delivery.Step{Attempt: 10}, delivery.Unavailable, "before")
	assert.Equal(t, delivery.Unavailable, r.Outcome)
	assert.Equal(t, "before", r.Previous)
	want := d
	want.Attempt, want.Resigned = 10, 0
	assert.Equal(t, want, r.Due())

	r = delivery.NewRetry(d, delivery.Step{Attempt: 10, Hold: true}, delivery.NoIdentity, "")
	want.Held = 4
	assert.Equal(t, want, r.Due(), "a hold is counted as one")

	r = delivery.NewRetry(d, delivery.Step{Attempt: d.Attempt, Resigned: d.Resigned}, delivery.LaneFull, "")
	assert.Equal(t, d, r.Due(), "parking changes nothing")

	r.Inline = &delivery.Inline{Body: []byte("x")}
	assert.True(t, r.Due().Inline)
}

func TestForeignRecordsAreRefusedInWords(t *testing.T) {
	t.Parallel()
	for name, each := range map[string]struct {
		change func(*delivery.Retry)
		says   []string
	}{
		"no delivery":           {func(r *delivery.Retry) { r.Delivery = "" }, []string{"id is not"}},
		"a delivery of two":     {func(r *delivery.Retry) { r.Delivery = "a.b" }, []string{`"a.b"`, "id is not"}},
		"no tenant":             {func(r *delivery.Retry) { r.Tenant = "" }, []string{"no endpoint"}},
		"no endpoint":           {func(r *delivery.Retry) { r.Endpoint = "" }, []string{"no endpoint"}},
		"every endpoint":        {func(r *delivery.Retry) { r.Endpoint = "*" }, []string{"no endpoint"}},
		"no payload":            {func(r *delivery.Retry) { r.Event, r.Inline = 0, nil }, []string{"no event sequence and no payload"}},
		"attempt 0":             {func(r *delivery.Retry) { r.Attempt = 0 }, []string{"attempt 0"}},
		"negative attempt":      {func(r *delivery.Retry) { r.Attempt = -1 }, []string{"attempt -1"}},
		"negative base":         {func(r *delivery.Retry) { r.Base = -1 }, []string{"contradict"}},
		"base without a try":    {func(r *delivery.Retry) { r.Base, r.Held = 5, 0 }, []string{"these 5 before"}},
		"negative held":         {func(r *delivery.Retry) { r.Held = -1 }, []string{"-1 held"}},
		"held without a try":    {func(r *delivery.Retry) { r.Held = 4 }, []string{"4 held"}},
		"counters that wrap":    {func(r *delivery.Retry) { r.Base, r.Held = 1<<63-1, 1<<63-1 }, []string{"contradict"}},
		"negative resigned":     {func(r *delivery.Retry) { r.Resigned = -1 }, []string{"signed again -1"}},
		"no time":               {func(r *delivery.Retry) { r.First = time.Time{} }, []string{"no time"}},
		"everything at a time":  {func(r *delivery.Retry) { r.Delivery, r.Tenant, r.Attempt = "", "", 0 }, []string{"id is not", "no endpoint", "attempt 0"}},
		"a payload and no more": {func(r *delivery.Retry) { r.Event = 0 }, nil},
	} {
		r := record()
		each.change(&r)
		data, err := json.Marshal(r)
		require.NoError(t, err, name)
		_, err = delivery.ParseRetry(data)
		if each.says == nil {
			require.NoError(t, err, name)
		}
		for _, says := range each.says {
			require.ErrorContains(t, err, says, name)
		}
	}
	for text, says := range map[string]string{
		"":                   "not valid JSON",
		"[]":                 "not valid JSON",
		"null":               "id is not",
		`{"outcome":"lost"}`: `"lost" is not an outcome`,
		`{"delivery":"a","tenant":"b","endpoint":"c","event":1,"attempt":1,"first":"2026-11-24T09:00:00Z"}`: "no outcome",
	} {
		_, err := delivery.ParseRetry([]byte(text))
		require.ErrorContains(t, err, says, text)
	}
}

func FuzzParseRetry(f *testing.F) {
	seed, err := json.Marshal(record())
	require.NoError(f, err)
	f.Add(seed)
	f.Add([]byte(`{"delivery":"a","tenant":"b","endpoint":"c","event":1,"attempt":1,"first":"2026-11-24T09:00:00Z","outcome":"gone"}`))
	f.Add([]byte(`{"delivery":"a","attempt":9223372036854775807,"base":9223372036854775807,"held":9223372036854775807}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := delivery.ParseRetry(data)
		if err != nil {
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatalf("accepted, but cannot be written: %v", err)
		}
		back, err := delivery.ParseRetry(again)
		if err != nil || !reflect.DeepEqual(normal(r), normal(back)) {
			t.Fatalf("%#v comes back as %#v (%v)", r, back, err)
		}
		if step := standard().Next(r.Due(), ended(delivery.Unavailable), stored()); step.Action != delivery.Schedule && step.Action != delivery.Bury {
			t.Fatalf("no place for %#v: %#v", r, step)
		}
	})
}

// normal leaves out what JSON does not keep: the name of a time zone, and the difference of no bytes and none.
func normal(r delivery.Retry) delivery.Retry {
	r.First = r.First.UTC()
	if r.Inline != nil {
		inline := *r.Inline
		inline.Body = append([]byte{}, inline.Body...)
		r.Inline = &inline
	}
	return r
}

func TestADeadLetterComesBackWhole(t *testing.T) {
	t.Parallel()
	outcome := delivery.Unavailable
	letter := delivery.DeadLetter{
		Tenant: "acme", Endpoint: "orders", Delivery: "msg_1", Attempt: 10, Event: 7, Outcome: &outcome, Reasons: []string{"a", "b"}, Subject: "s",
		URL: "https://hooks.example.com:443", Header: http.Header{"webhook-id": {"msg_1"}, "Content-Type": {"application/json"}},
		Body: delivery.NewBody([]byte(`{"order":1}`)), Stamp: "0123456789abcdef.K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN_H_pI4", Schema: "urn:s:1", First: stored(), At: stored().Add(time.Hour),
	}
	value := reflect.ValueOf(letter)
	for i := range value.NumField() {
		require.False(t, value.Field(i).IsZero(), "the sample leaves out %s", value.Type().Field(i).Name)
	}
	data, err := json.Marshal(letter)
	require.NoError(t, err)
	var back delivery.DeadLetter
	require.NoError(t, json.Unmarshal(data, &back))
	assert.Equal(t, letter, back)

	data, err = json.Marshal(delivery.DeadLetter{Reasons: []string{"why"}, At: stored()})
	require.NoError(t, err)
	assert.JSONEq(t, `{"reasons":["why"],"body":{},"at":"2026-11-24T09:00:00Z"}`, string(data), "what there is not is left out")
}

// TestABodyIsExact keeps every byte; text only when it is short and text.
func TestABodyIsExact(t *testing.T) {
	t.Parallel()
	for name, data := range map[string][]byte{
		"empty": {}, "nil": nil, "text": []byte(`{"a":"<ü\u2028>"}`), "line separator": []byte("a\u2028b\u2029"), "controls": []byte("\x00\x01\x7f\r\n"),
		"replacement": []byte("\ufffd"), "bytes": {0xff, 0xfe}, "half a character": []byte("ü")[:1],
		"longest text": bytes.Repeat([]byte("a"), 64<<10), "longer": bytes.Repeat([]byte("a"), 64<<10+1),
	} {
		body := delivery.NewBody(data)
		assert.Equal(t, utf8.Valid(data) && len(data) <= 64<<10, body.Base64 == nil, name)
		stored, err := json.Marshal(body)
		require.NoError(t, err)
		var back delivery.Body
		require.NoError(t, json.Unmarshal(stored, &back))
		got, ok := back.Bytes()
		assert.True(t, ok, name)
		assert.Equal(t, string(data), string(got), name)
	}
	_, ok := delivery.Body{Omitted: 1 << 20}.Bytes()
	assert.False(t, ok, "what was left out is not taken for empty")
}

func BenchmarkNewID(b *testing.B) {
	key := endpoint.Key{Tenant: "acme", Name: "orders"}
	b.ReportAllocs()
	for i := range b.N {
		_ = delivery.NewID([32]byte{byte(i)}, key)
	}
}

func TestIDsAreValidSubjectTokensHoweverMany(t *testing.T) {
	t.Parallel()
	for i := range 1000 {
		id := delivery.NewID([32]byte{byte(i), byte(i >> 8)}, endpoint.Key{Tenant: "t" + strconv.Itoa(i), Name: "e"})
		require.True(t, id.Valid(), string(id))
	}
}
