package stream_test

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/stream"
)

// signed fills every field.
func signed() stream.Signed {
	at := time.Date(2026, 11, 24, 9, 0, 0, 123456789, time.UTC)
	return stream.Signed{
		Delivery: delivery.Delivery{ID: "msg_1", Endpoint: orders(), Event: 7, Attempt: 6, Base: 2, Held: 1, Resigned: 3, Schema: "urn:handfast:schema:acme:a.b:2", Inline: true, First: at.Add(-time.Hour)},
		Header: http.Header{
			"Content-Type": {"application/json"}, "webhook-id": {"msg_1"}, "webhook-timestamp": {"1795510800"},
			"webhook-signature": {"v1,aGVsbG8= v1a,d29ybGQ="}, "X-Two": {"a", "b"},
		},
		Body: []byte("{\"order\":1}\x00\xff\r\n"), Query: "bodySHA256=0a1f", Stamp: "k.m", SignedAt: at, Keys: []string{"v1=a", "v1a=b"},
		Type: "com.acme.order.created", Source: "/shop/ü b%20\r\nX: y", ID: `"quoted"`,
		Trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", TraceState: "a=b,c=d", Previous: "00-4bf92f3577b34da6a3ce929d0e0e4736-b7ad6b7169203331-01",
	}
}

// TestASignedRequestComesBackByteForByte sends it through a broker: what a dispatcher posts is what was signed.
func TestASignedRequestComesBackByteForByte(t *testing.T) {
	t.Parallel()
	value := reflect.ValueOf(signed())
	for i := range value.NumField() {
		require.False(t, value.Field(i).IsZero(), "the sample leaves out %s", value.Type().Field(i).Name)
	}
	b, topology := applied(t)
	small := signed() // with everything left out that can be
	small.Delivery = delivery.Delivery{ID: "msg_2", Endpoint: orders(), Event: 1, Attempt: 1, First: small.Delivery.First}
	small.Body, small.Keys, small.Trace, small.TraceState, small.Previous = []byte{}, []string{}, "", "", ""
	for _, want := range []stream.Signed{signed(), small} {
		b.send(t, topology.SignedMessage(want), "")
		pulled, err := b.consumer(t, stream.Deliveries, stream.PartitionConsumer(1)).Fetch(1,
			jetstream.FetchPriorityGroup(stream.PriorityGroup), jetstream.FetchMaxWait(5*time.Second))
		require.NoError(t, err)
		msg := <-pulled.Messages()
		require.NotNil(t, msg)
		assert.Equal(t, "deliveries.1.acme.orders", msg.Subject())
		got, err := stream.ParseSigned(msg.Subject(), msg.Headers(), msg.Data())
		require.NoError(t, err)
		assert.Equal(t, want, got)
		require.NoError(t, msg.Ack())
	}
}

// TestOurOwnHeadersAreNoPartOfTheRequest: the receiver sees what was signed and nothing of how we work.
func TestOurOwnHeadersAreNoPartOfTheRequest(t *testing.T) {
	t.Parallel()
	s, topology := signed(), stream.Topology{Partitions: 4}
	s.Header["Handfast-Attempt"] = []string{"99"}
	s.Header["Handfast-Secret"] = []string{"x"}
	s.Header["Nats-Msg-Id"] = []string{"x"}
	msg := topology.SignedMessage(s)
	got, err := stream.ParseSigned(msg.Subject, msg.Header, msg.Data)
	require.NoError(t, err)
	assert.Equal(t, signed().Header, got.Header)
	assert.Equal(t, 6, got.Delivery.Attempt, "what the delivery says, not what the request says")
	assert.Equal(t, []string{"99"}, s.Header["Handfast-Attempt"], "the caller's header is left alone")
}

func TestForeignMessagesAreRefusedInWords(t *testing.T) {
	t.Parallel()
	good := stream.Topology{Partitions: 4}.SignedMessage(signed())
	for subject, says := range map[string]string{
		"":                             "is not deliveries.",
		"deliveries.1.acme":            "is not deliveries.",
		"deliveries.1.acme.orders.x":   "is not deliveries.",
		"retries.1.acme.orders":        "is not deliveries.",
		"deliveries.1.Acme.orders":     `"Acme/orders" is not the key of an endpoint`,
		"deliveries.1.acme.*":          "is not the key of an endpoint",
		"deliveries.1.acme._event":     "is not the key of an endpoint",
		"deliveries.1.acme.or ders":    "is not the key of an endpoint",
		"deliveries.1.acme.":           "is not the key of an endpoint",
		"deliveries.1.acme.orders\r\n": "is not the key of an endpoint",
	} {
		_, err := stream.ParseSigned(subject, good.Header, good.Data)
		require.ErrorContains(t, err, says, subject)
	}
	for name, each := range map[string]struct{ header, value, says string }{
		"no delivery":          {"Handfast-Delivery", "", "is not the id of a delivery"},
		"a delivery of two":    {"Handfast-Delivery", "a.b", "is not the id of a delivery"},
		"a delivery for all":   {"Handfast-Delivery", ">", "is not the id of a delivery"},
		"no attempt":           {"Handfast-Attempt", "", "attempt 0"},
		"attempt 0":            {"Handfast-Attempt", "0", "attempt 0"},
		"attempt in words":     {"Handfast-Attempt", "one", "Handfast-Attempt"},
		"a base that is ahead": {"Handfast-Base", "6", "contradict"},
		"a negative base":      {"Handfast-Base", "-1", "contradict"},
		"a base in words":      {"Handfast-Base", "x", "Handfast-Base"},
		"too often held":       {"Handfast-Held", "4", "contradict"},
		"held in words":        {"Handfast-Held", "x", "Handfast-Held"},
		"negative resigned":    {"Handfast-Resigned", "-3", "signed again -3"},
		"resigned in words":    {"Handfast-Resigned", "x", "Handfast-Resigned"},
		"no event":             {"Handfast-Event", "", "is not the sequence of an event"},
		"a negative event":     {"Handfast-Event", "-1", "is not the sequence of an event"},
		"no first time":        {"Handfast-First", "", "Handfast-First"},
		"the time of nothing":  {"Handfast-First", "0001-01-01T00:00:00Z", "Handfast-First"},
		"no time of signing":   {"Handfast-Signed", "yesterday", `Handfast-Signed: "yesterday"`},
	} {
		header := maps.Clone(good.Header)
		header[each.header] = []string{each.value}
		got, err := stream.ParseSigned(good.Subject, header, good.Data)
		require.ErrorContains(t, err, each.says, name)
		require.ErrorContains(t, err, "deliveries.1.acme.orders is not a signed request", name)
		assert.Zero(t, got, "%s: nothing of it is used", name)
	}
	header := maps.Clone(good.Header)
	delete(header, "Handfast-Inline")
	header["Handfast-Event"] = []string{"0"}
	_, err := stream.ParseSigned(good.Subject, header, nil)
	require.ErrorContains(t, err, "sequence of an event", "without its payload it needs its event")
	_, err = stream.ParseSigned(good.Subject, nil, nil)
	for _, says := range []string{"Handfast-First", "Handfast-Signed", "Handfast-Event", "Handfast-Delivery", "attempt 0"} {
		require.ErrorContains(t, err, says, "everything at once")
	}
}

func FuzzParseSigned(f *testing.F) {
	f.Add("deliveries.1.acme.orders", "msg_1", "1", "", "", "", "7", "2026-11-24T09:00:00Z", "/s", []byte("{}"))
	f.Add("deliveries.1.acme.orders", "a.b", "9223372036854775807", "9223372036854775807", "9223372036854775807", "-1", "0", "2026-11-24T09:00:00.5+01:00", "%ff%", []byte(nil))
	f.Add("deliveries....", "", "", "", "", "", "", "", "\"", []byte("\x00"))
	topology := stream.Topology{Partitions: 4}
	f.Fuzz(func(t *testing.T, subject, id, attempt, base, held, resigned, event, first, source string, body []byte) {
		header := nats.Header{
			"Handfast-Delivery": {id}, "Handfast-Attempt": {attempt}, "Handfast-Base": {base}, "Handfast-Held": {held}, "Handfast-Resigned": {resigned},
			"Handfast-Event": {event}, "Handfast-First": {first}, "Handfast-Signed": {first}, "Handfast-Event-Source": {source}, "X": {source},
		}
		s, err := stream.ParseSigned(subject, header, body)
		if err != nil {
			return
		}
		if !s.Delivery.ID.Valid() || s.Delivery.CheckCounters() != nil || !bytes.Equal(s.Body, body) || len(s.Header) != 1 {
			t.Fatalf("accepted %#v", s)
		}
		msg := topology.SignedMessage(s)
		back, err := stream.ParseSigned(msg.Subject, msg.Header, msg.Data)
		if err != nil {
			t.Fatalf("accepted, but what is written of it is not: %v", err)
		}
		s.Delivery.First, s.SignedAt = s.Delivery.First.UTC(), s.SignedAt.UTC()
		if !reflect.DeepEqual(s, back) {
			t.Fatalf("%#v comes back as %#v", s, back)
		}
	})
}

func ExampleParseSigned() {
	topology := stream.Topology{Partitions: 32}
	msg := topology.SignedMessage(stream.Signed{
		Delivery: delivery.Delivery{ID: "msg_1", Endpoint: orders(), Event: 7, Attempt: 1, First: time.Unix(0, 1)},
		Header:   http.Header{"Content-Type": {"application/json"}, "webhook-id": {"msg_1"}},
		Body:     []byte(`{"order":1}`), SignedAt: time.Unix(0, 1),
	})
	s, err := stream.ParseSigned(msg.Subject, msg.Header, msg.Data)
	fmt.Println(msg.Subject, err)
	fmt.Println(s.Delivery.Endpoint, s.Header, string(s.Body))
	// Output:
	// deliveries.17.acme.orders <nil>
	// acme/orders map[Content-Type:[application/json] webhook-id:[msg_1]] {"order":1}
}

func BenchmarkParseSigned(b *testing.B) {
	msg := stream.Topology{Partitions: 32}.SignedMessage(signed())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := stream.ParseSigned(msg.Subject, msg.Header, msg.Data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignedMessage(b *testing.B) {
	topology, s := stream.Topology{Partitions: 32}, signed()
	b.ReportAllocs()
	for b.Loop() {
		topology.SignedMessage(s)
	}
}
