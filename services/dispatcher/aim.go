package dispatcher

import (
	"strings"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/mtls"
)

// path is the request target: that of the endpoint's URL, and what a scheme has added to its query and signed.
func path(to endpoint.Registered, query string) string {
	target := to.URL.RequestURI()
	switch {
	case query == "":
		return target
	case strings.Contains(target, "?"):
		return target + "&" + query
	default:
		return target + "?" + query
	}
}

// target is with whom to speak, and on which terms, with what the endpoint is presented now.
func (d *Dispatcher) target(to endpoint.Registered) (mtls.Target, *delivery.Verdict) {
	_, source, failure := d.presenting.choose(to)
	if failure != nil {
		return mtls.Target{}, failure
	}
	return d.aim(to, source)
}

// aim is target with a given identity.
func (d *Dispatcher) aim(to endpoint.Registered, source mtls.Source) (mtls.Target, *delivery.Verdict) {
	trust, err := d.trusts.of(to)
	if err != nil {
		v := ours(delivery.ServerCertificateUntrusted, "the trust of endpoint "+to.Key().String()+" cannot be used: "+err.Error(), "Mend the endpoint's tls.trust")
		return mtls.Target{}, &v
	}
	target := mtls.Target{
		Authority: to.Authority(), ServerName: to.TLS.ServerName, Identity: source, Trust: trust, MinVersion: minVersion(to.TLS.MinVersion),
	}
	switch to.TLS.Mutual {
	case endpoint.Required:
		target.Mutual = mtls.Required
	case endpoint.Requested:
		target.Mutual = mtls.Requested
	}
	return target, nil
}

func ours(outcome delivery.Outcome, detail, advice string) delivery.Verdict {
	return delivery.Verdict{Outcome: outcome, Origin: delivery.Ours, Detail: detail, Advice: advice}
}
