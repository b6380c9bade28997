package telemetry

import (
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
)

// maxScrapes bounds how many scrapes run at once; a further one gets HTTP 503.
// Two Prometheus servers and a person with curl fit in.
const maxScrapes = 4

// registry is what the Prometheus exporter writes to and the handler reads from.
type registry interface {
	prometheus.Registerer
	prometheus.Gatherer
}

func newRegistry() registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return r
}

func newReader(r registry) (sdkmetric.Reader, error) {
	return otelprometheus.New(otelprometheus.WithRegisterer(r))
}

// newMetricsHandler leaves out a series that cannot be gathered rather than
// failing the scrape: one broken instrument must not blind every alert.
func newMetricsHandler(r registry, logger *slog.Logger) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{
		ErrorLog:            scrapeLog{logger: logger},
		ErrorHandling:       promhttp.ContinueOnError,
		EnableOpenMetrics:   true, // needed for exemplars, which lead from a metric to a trace
		MaxRequestsInFlight: maxScrapes,
	})
}

// scrapeLog turns promhttp's Println into an attribute.
type scrapeLog struct{ logger *slog.Logger }

func (l scrapeLog) Println(v ...any) {
	l.logger.Warn("some metrics could not be gathered", slog.String("error", fmt.Sprint(v...)))
}
