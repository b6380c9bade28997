package telemetry

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func lookup(env map[string]string) func(string) string {
	return func(name string) string { return env[name] }
}

func TestReadEnvironment(t *testing.T) {
	const (
		all            = "OTEL_EXPORTER_OTLP_ENDPOINT"
		traces         = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
		allProtocol    = "OTEL_EXPORTER_OTLP_PROTOCOL"
		tracesProtocol = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
	)
	tests := map[string]struct {
		env  map[string]string
		want environment
	}{
		"nothing set":                 {nil, environment{}},
		"protocol without endpoint":   {map[string]string{allProtocol: "grpc"}, environment{}},
		"port 4317 means grpc":        {map[string]string{all: "http://c:4317"}, environment{protocol: protocolGRPC, collector: "http://c:4317"}},
		"port 4318 means http":        {map[string]string{all: "http://c:4318"}, environment{protocol: protocolHTTPProtobuf, collector: "http://c:4318"}},
		"no port means http":          {map[string]string{all: "https://c/base"}, environment{protocol: protocolHTTPProtobuf, collector: "https://c"}},
		"protocol wins over port":     {map[string]string{all: "http://c:4317", allProtocol: "http/protobuf"}, environment{protocol: protocolHTTPProtobuf, collector: "http://c:4317"}},
		"json":                        {map[string]string{all: "http://c:4318", allProtocol: "http/json"}, environment{protocol: protocolHTTPJSON, collector: "http://c:4318"}},
		"traces endpoint wins":        {map[string]string{all: "http://a:4318", traces: "http://b:4317"}, environment{protocol: protocolGRPC, collector: "http://b:4317"}},
		"traces protocol wins":        {map[string]string{all: "http://c:1", allProtocol: "http/json", tracesProtocol: "grpc"}, environment{protocol: protocolGRPC, collector: "http://c:1"}},
		"surrounding space":           {map[string]string{all: " http://c:4317 "}, environment{protocol: protocolGRPC, collector: "http://c:4317"}},
		"user information is dropped": {map[string]string{all: "http://user:secret@c:4318"}, environment{protocol: protocolHTTPProtobuf, collector: "http://c:4318"}},
		"IPv6":                        {map[string]string{all: "http://[::1]:4317"}, environment{protocol: protocolGRPC, collector: "http://[::1]:4317"}},
		"exporter none":               {map[string]string{all: "http://c:4317", "OTEL_TRACES_EXPORTER": "none"}, environment{}},
		"exporter otlp":               {map[string]string{all: "http://c:4317", "OTEL_TRACES_EXPORTER": "otlp"}, environment{protocol: protocolGRPC, collector: "http://c:4317"}},
		"disabled":                    {map[string]string{all: "rubbish", "OTEL_SDK_DISABLED": "True"}, environment{disabled: true}},
		"disabled false":              {map[string]string{"OTEL_SDK_DISABLED": "false"}, environment{}},
		"sampler with ratio":          {map[string]string{"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"}, environment{}},
		"sampler without ratio":       {map[string]string{"OTEL_TRACES_SAMPLER": "traceidratio"}, environment{}},
		"argument nobody reads":       {map[string]string{"OTEL_TRACES_SAMPLER": "always_on", "OTEL_TRACES_SAMPLER_ARG": "x"}, environment{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := readEnvironment(lookup(tt.env))
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestReadEnvironmentRefuses(t *testing.T) {
	tests := map[string]struct{ name, value, want string }{
		"disabled":          {"OTEL_SDK_DISABLED", "yes", "neither true nor false"},
		"exporter":          {"OTEL_TRACES_EXPORTER", "console", "use otlp or none"},
		"no scheme":         {"OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4317", "not an http or https URL"},
		"host as scheme":    {"OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317", "not an http or https URL"},
		"wrong scheme":      {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://c:4317", "not an http or https URL"},
		"no host":           {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://:4317", "not an http or https URL"},
		"protocol":          {"OTEL_EXPORTER_OTLP_PROTOCOL", "http", "use grpc, http/protobuf or http/json"},
		"sampler":           {"OTEL_TRACES_SAMPLER", "sometimes", "unknown"},
		"ratio in protocol": {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "GRPC", "unknown"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := readEnvironment(lookup(map[string]string{tt.name: tt.value}))
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, tt.name+":", "the error names the variable")
			assert.Zero(t, got)
		})
	}
	for _, ratio := range []string{"-0.1", "1.1", "NaN", "half"} {
		_, err := readEnvironment(lookup(map[string]string{"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": ratio}))
		require.ErrorContains(t, err, "from 0 to 1", ratio)
	}
}

func TestReadEnvironmentReportsEverything(t *testing.T) {
	_, err := readEnvironment(lookup(map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT":        "one",
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "two",
		"OTEL_EXPORTER_OTLP_PROTOCOL":        "three",
		"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "four",
		"OTEL_TRACES_SAMPLER":                "five",
	}))
	require.Error(t, err)
	for _, value := range []string{`"one"`, `"two"`, `"three"`, `"four"`, `"five"`} {
		assert.Contains(t, err.Error(), value)
	}
	_, err = readEnvironment(lookup(map[string]string{"OTEL_TRACES_EXPORTER": "six", "OTEL_TRACES_SAMPLER": "seven"}))
	require.ErrorContains(t, err, "six")
	require.ErrorContains(t, err, "seven")
}

func TestReadEnvironmentKeepsSecrets(t *testing.T) {
	for _, endpoint := range []string{"user:secret@c:4318", "grpc://user:secret@c", "//c?token=secret"} {
		_, err := readEnvironment(lookup(map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}))
		require.Error(t, err, endpoint)
		assert.NotContains(t, err.Error(), "secret", endpoint)
	}
}

func FuzzReadEnvironment(f *testing.F) {
	f.Add("http://127.0.0.1:4317", "grpc", "traceidratio", "0.5")
	f.Add("https://user:secret@[::1]:4318/v1?x=y", "http/json", "always_on", "")
	f.Add("://", "", "", "NaN")
	f.Fuzz(func(t *testing.T, endpoint, protocol, sampler, ratio string) {
		got, err := readEnvironment(lookup(map[string]string{
			"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
			"OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
			"OTEL_TRACES_SAMPLER":         sampler,
			"OTEL_TRACES_SAMPLER_ARG":     ratio,
		}))
		if err != nil {
			assert.Zero(t, got)
			return
		}
		assert.Equal(t, got.protocol != protocolNone, got.collector != "", "a protocol and a collector come together")
		assert.NotContains(t, got.collector, "@", "user information must not be logged")
	})
}
