// Package telemetry gives a service its traces, metrics and logs.
//
//	                       ┌─ batches ──▶ OTLP collector   (only when an endpoint is configured)
//	TracerProvider ─ span ─┤
//	                       └─ Config.Processors ──▶ Recorder ──▶ Tree   (the demo and tests)
//
//	MeterProvider ─ instruments ──▶ own registry ──▶ Metrics handler, Prometheus text
//
//	NewLogger ─ records, with trace_id and span_id of the context ──▶ text or JSON lines
//
// # Environment
//
// The standard OpenTelemetry variables configure the export, so that an
// operator learns nothing new. [Start] reads these itself and refuses values
// that it does not know, all of them at once:
//
//	OTEL_SDK_DISABLED                     true: no traces and no instruments at all
//	OTEL_TRACES_EXPORTER                  otlp (default) or none
//	OTEL_EXPORTER_OTLP_ENDPOINT           URL of a collector, for example http://127.0.0.1:4318
//	OTEL_EXPORTER_OTLP_TRACES_ENDPOINT    the same for traces only; wins over the line above
//	OTEL_EXPORTER_OTLP_PROTOCOL           grpc, http/protobuf or http/json
//	OTEL_EXPORTER_OTLP_TRACES_PROTOCOL    the same for traces only; wins over the line above
//	OTEL_TRACES_SAMPLER, …_SAMPLER_ARG    default parentbased_always_on
//	OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES   win over Config
//
// Without an endpoint nothing is exported: a service that was not told of a
// collector does not go looking for one. Without a protocol, an endpoint on
// port 4317 means gRPC, because that port is registered for it, and any other
// means http/protobuf, which is the specification's default. The remaining
// variables (headers, timeouts, certificates, OTEL_BSP_…, span limits) are read
// by the OpenTelemetry SDK. OTEL_PROPAGATORS is not read; see [Telemetry.Propagator].
//
// # What it must never do
//
//   - Touch the process-wide OpenTelemetry providers, propagator or error
//     handler, or the default Prometheus registry. Several services run in one
//     process under `handfast dev`, and each has a Telemetry of its own.
//   - Hold up a delivery: a collector that is slow or gone costs spans, told in
//     the log at most once a minute, and nothing else.
//   - Print collector headers or a URL's user information.
package telemetry
