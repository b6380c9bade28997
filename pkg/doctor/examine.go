package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// examination is one run.
type examination struct {
	target  Target
	options Options
	report  Report
	address string // the address that all probes go to, so that they see the same receiver
	seen    []*probe
	// onlyHTTP2: the receiver speaks nothing else.
	onlyHTTP2 bool
}

// Examine looks at a receiver and reports. It takes a few connections, one after the other, and sends no byte of a
// message on any. The error tells everything that is wrong with the target, or that ctx ended: then there is no report.
func Examine(ctx context.Context, target Target, options Options) (*Report, error) {
	if err := errors.Join(target.Problems()...); err != nil {
		return nil, err
	}
	e := &examination{target: target, options: options.complete()}
	if err := e.run(ctx); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("the examination was stopped: %w", context.Cause(ctx))
	}
	e.report.conclude()
	return &e.report, nil
}

func (e *examination) run(ctx context.Context) error {
	addresses, ok := e.resolve(ctx)
	if !ok || !e.connect(ctx, addresses) {
		return nil
	}
	bare := e.present(ctx, Identity{})
	if !e.tls(ctx, bare) {
		return nil
	}
	if !e.revocation(bare) {
		return nil
	}
	return e.clients(ctx, bare)
}

// clients tries every certificate, and none.
func (e *examination) clients(ctx context.Context, bare *probe) error {
	var current, next, strange *probe
	if e.target.Current.pair != nil {
		current = e.present(ctx, e.target.Current)
	}
	if e.target.Next.pair != nil {
		next = e.present(ctx, e.target.Next)
	}
	if bare.requested {
		identity, err := stranger(e.target.Current.leaf(), e.options.Now())
		if err != nil {
			return err
		}
		strange = e.present(ctx, identity)
	}
	e.report.add(StepCertificateRequest, e.certificateRequest(bare, current))
	e.identities(bare, current, next)
	if bare.requested {
		e.report.add(StepWithoutCertificate, e.withoutCertificate(bare, current))
		e.report.add(StepWithStranger, e.withStranger(strange, current))
	}
	e.host(ctx, bare, current)
	e.clock()
	e.path(bare, nil)
	return nil
}

// present makes one connection with an identity, or with none. On HTTP/1.1 a refusal is always heard, so HTTP/2 is left to
// receivers that speak nothing else, which is no fault: deliveries speak it, too.
func (e *examination) present(ctx context.Context, identity Identity) *probe {
	p := e.try(ctx, e.terms(identity))
	unspoken := p.stage == atExchange && isCut(p.err) && p.state.NegotiatedProtocol == ""
	if !e.onlyHTTP2 && (unspoken || remoteAlert(p.err) == "no application protocol") {
		t := e.terms(identity)
		t.protocol = "h2"
		second := e.try(ctx, t)
		if chain, _ := second.untrusted(); second.state.NegotiatedProtocol == "h2" || len(chain) > 0 {
			p, e.onlyHTTP2 = second, true
		}
	}
	e.seen = append(e.seen, p)
	return p
}

// terms are those of a delivery.
func (e *examination) terms(identity Identity) terms {
	t := terms{presented: identity, path: e.target.URL.RequestURI(), host: e.target.hostHeader(), protocol: "http/1.1"}
	if e.onlyHTTP2 {
		t.protocol = "h2"
	}
	return t
}

// resolve finds the addresses of the host.
func (e *examination) resolve(ctx context.Context) (addresses []string, ok bool) {
	host, port := e.target.host(), e.target.port()
	if _, err := netip.ParseAddr(host); err == nil {
		return []string{net.JoinHostPort(host, port)}, true
	}
	ctx, cancel := context.WithTimeout(ctx, e.options.Timeout)
	defer cancel()
	found, err := e.options.Lookup(ctx, host)
	if err == nil && len(found) == 0 {
		err = &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	if err != nil {
		e.report.add(StepName, unresolved(host, err))
		return nil, false
	}
	var shown []string
	for _, address := range found {
		shown = append(shown, address.Unmap().String())
		addresses = append(addresses, net.JoinHostPort(address.Unmap().String(), port))
	}
	e.report.add(StepName, good(fmt.Sprintf("%s is %s.", host, list(shown, 6))))
	return addresses, true
}

func unresolved(host string, err error) finding {
	said := fmt.Sprintf("The name %s could not be resolved: %v.", host, err)
	do := both(here("check the resolver of this machine, and that it can see the receiver's zone."), receiver("check that the name exists in public DNS."))
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		switch {
		case dns.IsNotFound:
			said = fmt.Sprintf("DNS knows no address of the name %s.", host)
			do = both(here("check the host in the URL for a slip of the pen, and whether the name is visible only in another network."), receiver("create the DNS record, if the name is right."))
		case dns.IsTimeout:
			said = fmt.Sprintf("No name server answered for %s in time.", host)
		}
	}
	return bad(NameNotResolved, said, do)
}

// connect opens TCP once, to tell its failures from those of TLS.
func (e *examination) connect(ctx context.Context, addresses []string) bool {
	began := time.Now()
	failed, err := e.reach(ctx, addresses)
	if err != nil {
		e.report.add(StepConnection, unreachable(list(addresses, 6), e.options.Timeout, err))
		return false
	}
	f := good(fmt.Sprintf("TCP to %s is open, after %s.", e.address, time.Since(began).Round(time.Millisecond/10)))
	if len(failed) > 0 {
		f.said += fmt.Sprintf(" Before it, %s could not be reached.", list(failed, 6))
		f.do = receiver("remove addresses from DNS that do not answer; every new connection may lose time on them.")
	}
	e.report.add(StepConnection, f)
	return true
}

func unreachable(addresses string, waited time.Duration, err error) finding {
	switch {
	case isRefused(err):
		return bad(ConnectionRefused, addresses+" refused the TCP connection: the host is there, but nothing listens on this port.",
			both(receiver("start the listener, or open its port."), here("check the port in the URL.")))
	case isUnroutable(err):
		return bad(ConnectionRefused, fmt.Sprintf("There is no route to %s: %v.", addresses, err),
			both(here("check this machine's network, and whether the address is reachable only from another one."), receiver("check the address in DNS.")))
	case isTimeout(err):
		return bad(TimedOut, fmt.Sprintf("%s did not answer within %s: a firewall that drops packets, or a host that is down, looks like this.", addresses, waited),
			both(receiver("let this machine's address through the firewall, and check that the host is up."), here("check that outgoing connections to this port are allowed.")))
	}
	return bad(ConnectionLost, fmt.Sprintf("No TCP connection to %s: %v.", addresses, err), here("check this machine's network."))
}
