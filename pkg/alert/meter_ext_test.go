package alert_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/handfast/handfast/pkg/alert"
	"github.com/handfast/handfast/pkg/endpoint"
)

// measured returns the values of all metrics, each as name{label="value",…}.
func measured(t *testing.T, reader sdkmetric.Reader) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	out := map[string]int64{}
	add := func(name string, points []metricdata.DataPoint[int64]) {
		for _, p := range points {
			series := []string{name}
			for _, l := range p.Attributes.ToSlice() {
				series = append(series, string(l.Key)+"="+l.Value.AsString())
			}
			out[strings.Join(series, " ")] = p.Value
		}
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Gauge[int64]:
				add(m.Name, data.DataPoints)
			case metricdata.Sum[int64]:
				add(m.Name, data.DataPoints)
			default:
				t.Fatalf("unexpected data of %s", m.Name)
			}
		}
	}
	return out
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		readers := []*sdkmetric.ManualReader{sdkmetric.NewManualReader(), sdkmetric.NewManualReader()}
		var desks []*desk
		for _, r := range readers {
			desks = append(desks, w.desk(sdkmetric.NewMeterProvider(sdkmetric.WithReader(r))))
		}
		start := time.Now()
		billing := endpoint.Key{Tenant: "acme", Name: "billing"}
		for _, d := range desks {
			require.NoError(t, d.See(certificate(alert.Identity, "default", "a", start, 100*day)))
			require.NoError(t, d.See(certificate(alert.Server, "acme/orders", "b", start, 8*day)))
			require.NoError(t, d.See(certificate(alert.Server, "acme/billing", "e", start.Add(-80*day), 100*day)))
			require.NoError(t, d.SeeRoots(orders, certificate(0, "", "c", start, 900*day), certificate(0, "", "d", start, 700*day)))
			d.Outcome(orders, refused, alert.Evidence{})
			d.Outcome(billing, "server_name_mismatch", alert.Evidence{})
		}
		pass(time.Hour)
		first, second := measured(t, readers[0]), measured(t, readers[1])
		hour := int64(time.Hour / time.Second)
		assert.Equal(t, 100*24*hour-hour, first["handfast.certificate.expiry kind=identity name=default"])
		assert.Equal(t, 8*24*hour-hour, first["handfast.certificate.expiry kind=server name=acme/orders"])
		assert.Equal(t, 700*24*hour-hour, first["handfast.certificate.expiry kind=root name=acme/orders"], "the root that ends first")
		assert.Equal(t, int64(1), first["handfast.endpoints.held outcome=client_certificate_refused"])
		assert.Equal(t, int64(1), first["handfast.endpoints.held outcome=server_name_mismatch"])
		none, ok := first["handfast.endpoints.held outcome=no_identity"]
		assert.True(t, ok)
		assert.Zero(t, none)
		for _, kind := range []string{"handfast.endpoint.client_certificate_refused", "handfast.endpoint.held", "handfast.endpoint.server_certificate_expiring"} {
			series := "handfast.alerts type=" + kind
			assert.Equal(t, int64(1), first[series]+second[series], "%s counts once in a deployment", kind)
		}
		assert.Zero(t, first["handfast.alert.failures"]+second["handfast.alert.failures"], "to be second is no failure")
		desks[0].Forget(billing)
		for _, d := range desks {
			d.Outcome(orders, "delivered", alert.Evidence{})
		}
		pass(time.Hour)
		first = measured(t, readers[0])
		assert.Zero(t, first["handfast.endpoints.held outcome=client_certificate_refused"])
		assert.Zero(t, first["handfast.endpoints.held outcome=server_name_mismatch"])
		for _, d := range desks {
			d.stop()
		}
		for name := range measured(t, readers[0]) {
			assert.Contains(t, name, "handfast.alert", "a stopped desk measures nothing")
		}
	})
}

// However many receivers there are, the series are bounded, and those that matter are shown.
func TestSeriesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		reader := sdkmetric.NewManualReader()
		d := w.desk(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
		defer d.stop()
		for i := range 1000 {
			key := fmt.Sprintf("acme/e%d", i)
			require.NoError(t, d.See(certificate(alert.Server, key, key, time.Now(), 2000*day-time.Duration(i)*day)))
		}
		pass(time.Minute)
		series := 0
		for name := range measured(t, reader) {
			if strings.HasPrefix(name, "handfast.certificate.expiry ") {
				series++
			}
		}
		assert.Equal(t, 200, series)
		assert.Contains(t, measured(t, reader), "handfast.certificate.expiry kind=server name=acme/e999")
	})
}
