package receipt_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/receipt"
)

func samples() []receipt.Receipt {
	at := time.Date(2026, 11, 24, 9, 0, 0, 123456789, time.UTC)
	next := at.Add(time.Hour)
	plain := receipt.Receipt{
		Delivery: "msg_abc", Tenant: "acme", Endpoint: "orders", Attempt: 1, Outcome: delivery.Delivered, Origin: delivery.Said, Status: 200,
		Event: receipt.Event{Sequence: 7, Type: "com.acme.order.created", Source: "/shop", ID: "1"},
		URL:   "https://hooks.example.com:443", First: at, SignedAt: at, At: at, Duration: time.Millisecond, Keys: []string{"v1=k1", "v1a=k2"},
		Reused: true, Dispatcher: "d1", Trace: "0af7651916cd43dd8448eb211c80319c",
		Proof: &mtls.Proof{At: at, Authority: "hooks.example.com:443", ServerName: "hooks.example.com", Version: "TLS 1.3", Requested: true},
	}
	odd := plain
	odd.Event.ID, odd.Event.Source = "line\nbreak \"quoted\" <&> \\ Euro € \u2028 \xff", "/😀"
	odd.Outcome, odd.Origin, odd.Status = delivery.ClientCertificateRefused, delivery.Inferred, 0
	odd.Detail, odd.Advice, odd.Next, odd.Keys, odd.Proof, odd.Trace = "it said \"no\"", "ask <them>", &next, nil, nil, ""
	return []receipt.Receipt{plain, odd}
}

func TestAppendWritesWhatEncodingJSONWrites(t *testing.T) {
	for _, sample := range samples() {
		want, err := json.Marshal(sample)
		require.NoError(t, err)
		got, err := sample.Append(nil)
		require.NoError(t, err)
		assert.Equal(t, string(want), string(got))
	}
}

func TestAppendRefusesWhatIsNotInTheClosedLists(t *testing.T) {
	for _, broken := range []receipt.Receipt{{Origin: delivery.Said}, {Outcome: delivery.Delivered}} {
		_, err := broken.Append(nil)
		require.Error(t, err)
	}
}

func BenchmarkAppend(b *testing.B) {
	sample := samples()[0]
	buffer := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sample.Append(buffer[:0]); err != nil {
			b.Fatal(err)
		}
	}
}
