package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/mtls"
)

// Target is whom to examine, on the terms of a delivery.
type Target struct {
	// URL is where deliveries go: https, with a host. Its path is sent to a trusted receiver and never told.
	URL *url.URL
	// ServerName is the name that the receiver's certificate must carry, also sent as SNI. Empty means the URL's host.
	ServerName string
	// MinVersion is the oldest version of TLS that the endpoint accepts.
	MinVersion mtls.MinVersion
	Trust      mtls.Trust
	// Roots are those of Trust, to be named in words; nil stands for the system's.
	Roots  []*x509.Certificate
	Mutual mtls.Mutual
	// Current is presented as deliveries do now, Next is the one to change to. The zero value stands for none.
	Current, Next Identity
}

// Options are the bounds of an examination. The zero value is complete.
type Options struct {
	// Timeout bounds each connection from its first packet to its answer. Default 10 s.
	Timeout time.Duration
	// Lookup resolves a name. Default: the resolver of this machine.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Dial opens a TCP connection to an address. Default: a net.Dialer, which any address may be given to.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Now is our clock. Default time.Now.
	Now func() time.Time
	// Origin names the sender in the OPTIONS request. Default "handfast".
	Origin string
	// Revocation is asked about a certificate that has passed everything else, under the policy of Target.Trust.
	// Default: one that fetches revocation lists from public addresses only, as the addresses stand in certificates.
	Revocation Revocation
}

// Revocation knows whether issuers have withdrawn certificates; [*mtls.Revocation] is one.
type Revocation interface {
	Check(ctx context.Context, chains [][]*x509.Certificate, staple []byte, policy mtls.RevocationPolicy) (mtls.Finding, error)
}

const defaultTimeout = 10 * time.Second

func (o Options) complete() Options {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Lookup == nil {
		o.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Origin == "" {
		o.Origin = "handfast"
	}
	if o.Revocation == nil {
		o.Revocation = mtls.NewRevocation(nil)
	}
	return o
}

// Problems is everything that keeps a target from being tried.
func (t Target) Problems() []error {
	if t.URL == nil {
		return []error{errors.New("no URL was given")}
	}
	var all []error
	if t.URL.Scheme != "https" {
		all = append(all, fmt.Errorf("the URL has scheme %q; deliveries go to https only", t.URL.Scheme))
	}
	if t.URL.Hostname() == "" {
		all = append(all, errors.New("the URL names no host"))
	}
	if t.URL.User != nil {
		all = append(all, errors.New("the URL holds a user name, which is not sent to anybody; remove it"))
	}
	return all
}

func (t Target) host() string { return strings.ToLower(t.URL.Hostname()) }

func (t Target) port() string {
	if port := t.URL.Port(); port != "" {
		return port
	}
	return "443"
}

// serverName is what the certificate must carry.
func (t Target) serverName() string {
	if t.ServerName != "" {
		return strings.ToLower(strings.Trim(t.ServerName, "[]"))
	}
	return t.host()
}

// hostHeader is what HTTP is told: the URL's own authority.
func (t Target) hostHeader() string { return strings.ToLower(t.URL.Host) }

func (t Target) minVersion() uint16 {
	if t.MinVersion == mtls.TLS12 {
		return tls.VersionTLS12
	}
	return tls.VersionTLS13
}
