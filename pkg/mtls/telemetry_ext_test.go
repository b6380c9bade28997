package mtls_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/handfast/handfast/pkg/mtls"
)

// watched is a pool whose spans and metrics are kept.
func (p *peers) watched() (*mtls.Pool, *tracetest.SpanRecorder, *sdkmetric.ManualReader) {
	spans, metrics := tracetest.NewSpanRecorder(), sdkmetric.NewManualReader()
	pool := p.pool(func(o *mtls.Options) {
		o.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
		o.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(metrics))
	})
	return pool, spans, metrics
}

func attributesOf(span sdktrace.ReadOnlySpan) map[string]any {
	all := make(map[string]any)
	for _, a := range span.Attributes() {
		all[string(a.Key)] = a.Value.AsInterface()
	}
	return all
}

// sums are the counters, "name{result}".
func sums(t *testing.T, reader sdkmetric.Reader) map[string]int64 {
	t.Helper()
	var data metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &data))
	all := make(map[string]int64)
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch values := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, point := range values.DataPoints {
					result, _ := point.Attributes.Value("result")
					all[m.Name+"{"+result.AsString()+"}"] = point.Value
				}
			case metricdata.Histogram[float64]:
				for _, point := range values.DataPoints {
					result, _ := point.Attributes.Value("result")
					all[m.Name+"{"+result.AsString()+"}"] = int64(point.Count)
				}
			}
		}
	}
	return all
}

func TestSpansAndMetrics(t *testing.T) {
	for _, http2 := range []bool{true, false} {
		t.Run(fmt.Sprintf("http2 %t", http2), func(t *testing.T) {
			p := newPeers(t, true) // net/http's server and deadlines in memory do not go well together
			parents := make(chan string, 2)
			receiver := p.website(p.serverTLS(), func(w http.ResponseWriter, r *http.Request) {
				parents <- r.Header.Get("Traceparent")
				readAll(w, r)
			}, http2)
			pool, spans, metrics := p.watched()
			remote := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{7}, SpanID: trace.SpanID{7}, TraceFlags: trace.FlagsSampled})
			ctx := trace.ContextWithRemoteSpanContext(t.Context(), remote)
			var handshake trace.SpanContext
			for range 2 {
				response, err := pool.Do(ctx, p.target(receiver.address), post(100))
				require.NoError(t, err)
				handshake = response.Handshake
			}
			ended := spans.Ended()
			require.Len(t, ended, 3)
			assert.Equal(t, []string{"tls.handshake", "POST", "POST"}, []string{ended[0].Name(), ended[1].Name(), ended[2].Name()})
			for _, span := range ended {
				assert.Equal(t, remote.TraceID(), span.SpanContext().TraceID(), span.Name())
			}
			assert.Equal(t, ended[0].SpanContext(), handshake)

			tlsSpan := attributesOf(ended[0])
			for key, want := range map[string]any{
				"tls.client.server_name": receiverName, "tls.resumed": false, "handfast.client_certificate.requested": true,
				"tls.protocol.version": "TLS 1.3", "handfast.acceptable_cas": []string{"CN=clients"},
				"tls.client.subject": "CN=handfast", "tls.client.issuer": "CN=clients", "tls.client.hash.sha256": p.identity.Fingerprint(),
				"tls.server.name": receiverName, "tls.server.issuer": "CN=receivers",
			} {
				assert.Equal(t, want, tlsSpan[key], key)
			}
			for _, key := range []string{"tls.cipher", "tls.curve", "tls.next_protocol", "tls.client.not_after", "tls.server.not_after", "tls.server.hash.sha256"} {
				assert.NotEmpty(t, tlsSpan[key], key)
			}
			host, number, _ := net.SplitHostPort(receiver.address)
			port, _ := strconv.Atoi(number)
			version := "1.1"
			if http2 {
				version = "2"
			}
			for i, span := range ended[1:] {
				assert.Equal(t, trace.SpanKindClient, span.SpanKind())
				got := attributesOf(span)
				for key, want := range map[string]any{
					"http.request.method": "POST", "url.scheme": "https", "server.address": host, "server.port": int64(port),
					"http.request.body.size": int64(100), "http.response.status_code": int64(204),
					"network.connection.reused": i > 0, "network.protocol.version": version,
				} {
					assert.Equal(t, want, got[key], key)
				}
				assert.Equal(t, "00-"+span.SpanContext().TraceID().String()+"-"+span.SpanContext().SpanID().String()+"-01", <-parents)
			}
			assert.Equal(t, map[string]int64{
				"handfast.tls.handshakes{ok}": 1, "handfast.tls.handshake.duration{ok}": 1, "handfast.connections{}": 1,
			}, sums(t, metrics))
			pool.Close()
			assert.Zero(t, sums(t, metrics)["handfast.connections{}"])
			saysNoSecret(t, ended)
		})
	}
}

func TestSpansOfRefusals(t *testing.T) {
	p := newPeers(t, false)
	refusing := func(proto string) *script {
		return p.script(p.serverTLS(func(c *tls.Config) { c.NextProtos = []string{proto}; c.VerifyConnection = refuse }), (*line).drain)
	}
	for name, tc := range map[string]struct {
		receiver *script
		span     string // that says so
	}{
		"HTTP/2":                {refusing("h2"), "tls.handshake"},
		"HTTP/1.1":              {refusing("http/1.1"), "POST"},
		"the receiver is wrong": {p.script(serverConfig(t, serverPair(t, p.clientCA, receiverName)), (*line).drain), "tls.handshake"},
	} {
		t.Run(name, func(t *testing.T) {
			pool, spans, metrics := p.watched()
			_, err := pool.Do(t.Context(), p.target(tc.receiver.address), post(100))
			f := failureOf(t, err)
			require.True(t, f.Handshake.IsValid())
			ended := spans.Ended()
			assert.Equal(t, ended[0].SpanContext(), f.Handshake)
			last := ended[len(ended)-1]
			require.Equal(t, tc.span, last.Name())
			assert.Equal(t, codes.Error, last.Status().Code)
			assert.Equal(t, f.Error(), last.Status().Description)
			if tc.span == "tls.handshake" {
				assert.EqualValues(t, 1, sums(t, metrics)["handfast.tls.handshakes{"+f.Kind.String()+"}"])
			} else {
				assert.Equal(t, f.Kind.String(), attributesOf(last)["error.type"])
			}
			assert.Zero(t, sums(t, metrics)["handfast.connections{}"])
			saysNoSecret(t, ended)
		})
	}
}

// saysNoSecret looks for path, query and body in everything that leaves with the spans.
func saysNoSecret(t *testing.T, spans []sdktrace.ReadOnlySpan) {
	t.Helper()
	for _, stub := range tracetest.SpanStubsFromReadOnlySpans(spans) {
		text, err := json.Marshal(stub)
		require.NoError(t, err)
		for _, secret := range []string{"secret", "BBBB", "PRIVATE KEY"} {
			assert.NotContains(t, string(text), secret)
		}
	}
}

// TestProofCanBePrinted without a word of the message or a key.
func TestProofCanBePrinted(t *testing.T) {
	p := newPeers(t, false)
	receiver := p.script(p.serverTLS(), answers(okay))
	response, err := p.pool().Do(context.Background(), p.target(receiver.address), post(10))
	require.NoError(t, err)
	text, err := json.Marshal(response.Proof)
	require.NoError(t, err)
	assert.Contains(t, string(text), `"client_certificate_requested":true`)
	assert.NotContains(t, string(text), "secret")
}
