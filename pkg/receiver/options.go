package receiver

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"

	"github.com/handfast/handfast/pkg/signature"
)

// DefaultMaxBody is the largest body, in bytes, that is read if the options do
// not say otherwise.
const DefaultMaxBody = 1 << 20

const maxDNSName = 253 // characters, RFC 1035 section 2.3.4

// Options is how a receiver decides whom to believe. Clients and Keys are needed;
// everything else has a safe zero value.
type Options struct {
	// Clients are the names that may call: DNS names and absolute URIs, one of
	// which has to be a subject alternative name of the client's certificate.
	// DNS names are compared without regard to case, URIs byte by byte.
	Clients []string
	// Keys verify signatures; one has to match. During a rotation give the old
	// and the new one.
	Keys []signature.Verifier
	// Tolerance is how far a timestamp may be from the clock, to either side.
	// Zero means [signature.DefaultTolerance].
	Tolerance time.Duration
	// MaxBody is the largest body in bytes. Zero means [DefaultMaxBody].
	MaxBody int64
	// TracerProvider gets the span "receive". Without one, OpenTelemetry's global
	// provider is used, which does nothing until the program sets it.
	TracerProvider trace.TracerProvider
	// Now is the clock. Without one, time.Now.
	Now func() time.Time
}

// withDefaults checks every option and fills in what was left out.
func (o Options) withDefaults() (Options, allowed, error) {
	var problems []error
	add := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }

	names, err := parseClients(o.Clients)
	if err != nil {
		problems = append(problems, err)
	}
	if len(o.Keys) == 0 {
		add("Keys is empty, so no signature could ever match; give a verifier for each key of the sender")
	}
	for i, key := range o.Keys {
		if !key.Valid() {
			add("Keys[%d] was not made from a key; use signature.Key.Verifier or signature.ParsePublic", i)
		}
	}
	if o.Tolerance < 0 {
		add("Tolerance is %s; it cannot be negative", o.Tolerance)
	}
	if o.MaxBody < 0 {
		add("MaxBody is %d; it cannot be negative", o.MaxBody)
	}
	if err := errors.Join(problems...); err != nil {
		return Options{}, allowed{}, fmt.Errorf("receiver options: %w", err)
	}
	if o.Tolerance == 0 {
		o.Tolerance = signature.DefaultTolerance
	}
	if o.MaxBody == 0 {
		o.MaxBody = DefaultMaxBody
	}
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Keys = append([]signature.Verifier(nil), o.Keys...)
	return o, names, nil
}

func parseClients(clients []string) (allowed, error) {
	names := allowed{uris: map[string]bool{}, dns: map[string]bool{}}
	var problems []error
	if len(clients) == 0 {
		problems = append(problems, errors.New("Clients is empty, so nobody may call; name the sender's certificate by its DNS name or URI")) //nolint:staticcheck // the name of a field
	}
	for i, name := range clients {
		var err error
		if strings.Contains(name, ":") {
			err = checkURI(name)
			names.uris[name] = true
		} else {
			err = checkDNS(name)
			names.dns[strings.ToLower(name)] = true
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("Clients[%d] %q: %w", i, name, err)) //nolint:staticcheck // as above
		}
	}
	return names, errors.Join(problems...)
}

func checkURI(name string) error {
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return errors.New("an IP address is no identity; use a DNS name or a URI")
	}
	u, err := url.Parse(name)
	if err != nil {
		return errors.New("it is not a URI")
	}
	if u.Scheme == "" || (u.Host == "" && u.Opaque == "") {
		return errors.New("it needs a scheme and a host, as in spiffe://example.com/sender")
	}
	if u.String() != name {
		return fmt.Errorf("it is written in an unusual way that a certificate would not match; write %s", u)
	}
	return nil
}

func checkDNS(name string) error {
	switch {
	case name == "":
		return errors.New("it is empty")
	case strings.Contains(name, "="):
		return errors.New("it looks like a distinguished name; subject and common name do not count (RFC 9525), use the certificate's DNS name or URI")
	case strings.Contains(name, "*"):
		return errors.New("wildcards are not allowed; name each sender in full")
	case len(name) > maxDNSName:
		return fmt.Errorf("it is longer than %d characters", maxDNSName)
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return errors.New("an IP address is no identity; use a DNS name or a URI")
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "-") != label || strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return errors.New("it is not a DNS name: letters, digits and '-' in labels of up to 63, no dot at the end")
		}
	}
	return nil
}
