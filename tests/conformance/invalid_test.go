package conformance

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/event"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

// broken is a message that is no event, and every field that must be complained about, none more and none less.
type broken struct {
	name    string
	subject string // events.acme.com.acme.order.created when empty
	// header replaces one of a good binary message; an empty value takes it away. A document takes all of them away.
	header   map[string]string
	document string
	data     string
	fields   []string
	tenant   string // "-" for none; acme when empty
}

func brokenMessages() []broken {
	const batch = "application/cloudevents-batch+json"
	return []broken{
		{name: "no CloudEvent at all", header: map[string]string{"ce-specversion": "", "ce-id": "", "ce-source": "", "ce-type": ""}, data: `{"order":1}`, fields: []string{"ce-specversion"}},
		{name: "everything missing but the version", header: map[string]string{"ce-id": "", "ce-source": "", "ce-type": ""}, fields: []string{"ce-id", "ce-source", "ce-type"}},
		{name: "empty is missing", header: map[string]string{"ce-id": `""`}, fields: []string{"ce-id"}},
		{name: "an old version", header: map[string]string{"ce-specversion": "0.3"}, fields: []string{"ce-specversion"}},
		{name: "another type than its subject", header: map[string]string{"ce-type": "com.acme.order.paid"}, fields: []string{"ce-type"}},
		{
			name:   "many mistakes at once",
			header: map[string]string{"ce-source": "", "ce-time": "yesterday", "ce-type": "x", "ce-dataschema": "relative", "ce-datacontenttype": "nonsense", "ce-under_score": "1"},
			fields: []string{"ce-source", "ce-time", "ce-type", "ce-dataschema", "ce-datacontenttype", "ce-under_score"},
		},
		{name: "not UTF-8", header: map[string]string{"ce-customer": "%C0%A0"}, fields: []string{"ce-customer"}},
		{name: "a broken escape", header: map[string]string{"ce-customer": "100%"}, fields: []string{"ce-customer"}},
		{name: "a control character", header: map[string]string{"ce-customer": "a%00b"}, fields: []string{"ce-customer"}},
		{name: "an extension in capitals", document: `{"specversion":"1.0","id":"1","source":"/s","type":"com.acme.order.created","Customer":"x"}`, fields: []string{"ce-Customer"}},
		{name: "JSON that is none", header: map[string]string{"ce-datacontenttype": "application/json"}, data: `{"order":1`, fields: []string{"data"}},
		{name: "two content types", header: map[string]string{"ce-datacontenttype": "text/plain", "Content-Type": "application/json"}, fields: []string{"Content-Type"}},
		{name: "too large", data: strings.Repeat("x", event.MaxSize+1), fields: []string{"data"}},
		{name: "a document that is none", document: `{"specversion":`, fields: []string{"data"}},
		{name: "a document of another kind", document: `[]`, fields: []string{"data"}},
		{name: "a batch", header: map[string]string{"Content-Type": batch}, data: `[]`, fields: []string{"Content-Type"}},
		{name: "another format", header: map[string]string{"Content-Type": "application/cloudevents+avro"}, fields: []string{"Content-Type"}},
		{name: "data twice", document: `{"specversion":"1.0","id":"1","source":"/s","type":"com.acme.order.created","data":1,"data_base64":"AA=="}`, fields: []string{"data_base64"}},
		{name: "one name twice", document: `{"specversion":"1.0","id":"1","id":"2","source":"/s","type":"com.acme.order.created"}`, fields: []string{"ce-id"}},
		{name: "base64 that is none", document: `{"specversion":"1.0","id":"1","source":"/s","type":"com.acme.order.created","data_base64":"*"}`, fields: []string{"data_base64"}},
		{
			name:     "attributes that are no text",
			document: `{"specversion":"1.0","id":1,"source":["/s"],"type":"com.acme.order.created","price":1.5,"big":2147483648,"nested":{}}`,
			fields:   []string{"ce-id", "ce-source", "ce-price", "ce-big", "ce-nested"},
		},
		{name: "a tenant in capitals", subject: "events.ACME.com.acme.order.created", fields: []string{"subject"}, tenant: "-"},
		{name: "no type in the subject", subject: "events.acme", fields: []string{"subject"}},
	}
}

func (b broken) message() *nats.Msg {
	msg := &nats.Msg{Subject: b.subject, Header: nats.Header{}, Data: []byte(b.data)}
	if b.subject == "" {
		msg.Subject = "events.acme." + kindOfEvent
	}
	if b.document != "" {
		msg.Header["Content-Type"] = []string{structured}
		msg.Data = []byte(b.document)
		return msg
	}
	for name, value := range map[string]string{"ce-specversion": "1.0", "ce-id": "1", "ce-source": eventSource, "ce-type": kindOfEvent} {
		msg.Header[name] = []string{value}
	}
	for name, value := range b.header {
		if msg.Header[name] = []string{value}; value == "" {
			delete(msg.Header, name)
		}
	}
	return msg
}

// TestWhatIsNoEventBlocksNothing publishes a good event after each message that is none.
func TestWhatIsNoEventBlocksNothing(t *testing.T) {
	all := brokenMessages()
	letters := make(map[uint64]delivery.DeadLetter)
	sequences := make([]uint64, len(all))
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		r := w.Receiver("hooks.example.com", kit.Answer(http.StatusOK))
		w.Apply(r.Document("acme", "orders"))
		w.Start()
		w.Pass(time.Second)
		for i, b := range all {
			ack, err := w.JS.PublishMsg(t.Context(), b.message())
			require.NoError(t, err, "the broker takes it; the signer judges it")
			sequences[i] = ack.Sequence
			_, err = w.JS.PublishMsg(t.Context(), published{}.message("good-"+strconv.Itoa(i)))
			require.NoError(t, err)
			w.Pass(time.Second)
			require.Len(t, r.Hits(), i+1, "the good event after %q is delivered at once", b.name)
			require.Equal(t, "good-"+strconv.Itoa(i), read(t, r.Hits()[i]).ID())
		}
		for _, letter := range deadLetters(t, w) {
			letters[letter.Event] = letter
		}
		assert.Len(t, w.Receipts(), len(all), "nothing was tried for what is no event")
		assert.Zero(t, w.Count(stream.Deliveries))
		assert.Zero(t, w.Count(stream.Retries))
		s, err := w.JS.Stream(t.Context(), stream.Events)
		require.NoError(t, err)
		consumer, err := s.Consumer(t.Context(), stream.SignerConsumer)
		require.NoError(t, err)
		assert.Zero(t, consumer.CachedInfo().NumAckPending, "every message is acknowledged")
		assert.Zero(t, consumer.CachedInfo().NumPending)
	})
	require.Len(t, letters, len(all))
	for i, b := range all {
		t.Run(b.name, func(t *testing.T) { b.judge(t, letters[sequences[i]]) })
	}
}

// judge wants each field's reason in words, and the message itself.
func (b broken) judge(t *testing.T, letter delivery.DeadLetter) {
	t.Helper()
	msg := b.message()
	var fields []string
	for _, reason := range letter.Reasons {
		field, words, _ := strings.Cut(reason, ": ")
		assert.Greater(t, len(words), 10, reason)
		fields = append(fields, field)
	}
	slices.Sort(fields)
	want := slices.Sorted(slices.Values(b.fields))
	assert.Equal(t, want, fields, "%q", letter.Reasons)
	assert.Equal(t, msg.Subject, letter.Subject)
	assert.Equal(t, map[string]string{"": "acme", "-": ""}[b.tenant], letter.Tenant)
	assert.Nil(t, letter.Outcome, "no attempt was made")
	assert.Empty(t, letter.Delivery)
	body, whole := letter.Body.Bytes()
	if len(msg.Data) > event.MaxSize {
		assert.False(t, whole)
		assert.Equal(t, len(msg.Data), letter.Body.Omitted)
		return
	}
	assert.True(t, whole)
	assert.Equal(t, string(msg.Data), string(body))
	assert.Len(t, letter.Header, len(msg.Header))
	for name, values := range msg.Header {
		assert.Equal(t, values, letter.Header[name], name)
	}
}
