package telemetry

import sdkmetric "go.opentelemetry.io/otel/sdk/metric"

// durations gives every histogram of seconds boundaries from a signature's twenty microseconds to a delivery's hours. The
// SDK's own are made for milliseconds: all that takes less than five seconds would be one bucket.
func durations() sdkmetric.View {
	return sdkmetric.NewView(sdkmetric.Instrument{Kind: sdkmetric.InstrumentKindHistogram, Unit: "s"}, sdkmetric.Stream{
		Aggregation: sdkmetric.AggregationExplicitBucketHistogram{Boundaries: []float64{
			0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600, 36_000,
		}},
	})
}
