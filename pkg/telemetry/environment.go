package telemetry

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// protocol is how spans travel to a collector.
type protocol string

const (
	protocolNone         protocol = "" // no export
	protocolGRPC         protocol = "grpc"
	protocolHTTPProtobuf protocol = "http/protobuf"
	protocolHTTPJSON     protocol = "http/json"
)

// portGRPC is the port registered for OTLP over gRPC (OTLP specification,
// "OTLP/gRPC Default Port").
const portGRPC = "4317"

// environment is what the OTEL_… variables ask for.
type environment struct {
	disabled  bool
	protocol  protocol
	collector string // scheme and host of the endpoint, safe to log
}

// readEnvironment reads and checks the variables that decide whether and how
// spans are exported. The error lists every bad one.
func readEnvironment(getenv func(string) string) (environment, error) {
	get := func(name string) string { return strings.TrimSpace(getenv(name)) }
	disabled, err := readDisabled(get)
	if err != nil || disabled {
		return environment{disabled: disabled}, err
	}
	wanted, exporterErr := readExporter(get)
	sampleErr := checkSampler(get)
	if exporterErr != nil || !wanted {
		return environment{}, errors.Join(exporterErr, sampleErr)
	}
	endpoint, endpointErr := readEndpoint(get)
	p, protocolErr := readProtocol(get)
	if err := errors.Join(endpointErr, protocolErr, sampleErr); err != nil || endpoint == nil {
		return environment{}, err
	}
	if p == protocolNone {
		p = protocolHTTPProtobuf
		if endpoint.Port() == portGRPC {
			p = protocolGRPC
		}
	}
	return environment{protocol: p, collector: endpoint.Scheme + "://" + endpoint.Host}, nil
}

func readDisabled(get func(string) string) (bool, error) {
	const name = "OTEL_SDK_DISABLED"
	switch v := get(name); strings.ToLower(v) {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	default:
		return false, fmt.Errorf("%s: %q is neither true nor false", name, v)
	}
}

func readExporter(get func(string) string) (wanted bool, err error) {
	const name = "OTEL_TRACES_EXPORTER"
	switch v := get(name); v {
	case "", "otlp":
		return true, nil
	case "none":
		return false, nil
	default:
		return false, fmt.Errorf("%s: exporter %q is not built in; use otlp or none", name, v)
	}
}

// readEndpoint gives the URL that traces go to, or nil when none is configured.
// Both variables are checked, also the one that is overruled.
func readEndpoint(get func(string) string) (*url.URL, error) {
	var endpoint *url.URL
	var errs []error
	for _, name := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
		v := get(name)
		if v == "" {
			continue
		}
		u, err := url.Parse(v)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
			errs = append(errs, fmt.Errorf("%s: %s is not an http or https URL; write for example http://127.0.0.1:4318", name, quoteURL(v)))
			continue
		}
		endpoint = u
	}
	return endpoint, errors.Join(errs...)
}

// quoteURL quotes what could not be used as a URL, without what may be a
// password in it.
func quoteURL(v string) string {
	if i := strings.LastIndexByte(v, '@'); i >= 0 {
		v = "…" + v[i:]
	}
	v, _, _ = strings.Cut(v, "?") // tokens hide in queries, too
	return strconv.Quote(v)
}

func readProtocol(get func(string) string) (protocol, error) {
	p := protocolNone
	var errs []error
	for _, name := range []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"} {
		switch v := protocol(get(name)); v {
		case protocolNone:
		case protocolGRPC, protocolHTTPProtobuf, protocolHTTPJSON:
			p = v
		default:
			errs = append(errs, fmt.Errorf("%s: protocol %q is unknown; use grpc, http/protobuf or http/json", name, v))
		}
	}
	return p, errors.Join(errs...)
}

// checkSampler refuses what the SDK would only complain about on standard error
// before sampling everything. The SDK reads the two variables itself.
func checkSampler(get func(string) string) error {
	const name, argument = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
	switch v := strings.ToLower(get(name)); v {
	case "", "always_on", "always_off", "parentbased_always_on", "parentbased_always_off":
		return nil
	case "traceidratio", "parentbased_traceidratio":
		arg := get(argument)
		if arg == "" {
			return nil
		}
		// The comparison is written so that NaN fails it.
		if ratio, err := strconv.ParseFloat(arg, 64); err != nil || !(ratio >= 0 && ratio <= 1) {
			return fmt.Errorf("%s: %q is not a ratio; %s wants a number from 0 to 1", argument, arg, v)
		}
		return nil
	default:
		return fmt.Errorf("%s: sampler %q is unknown; use always_on, always_off, traceidratio or one of them with parentbased_ in front", name, v)
	}
}
