package receiver

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"time"
)

// Form is how a terminator of TLS tells the client's certificate.
type Form uint8

// The forms that are understood.
const (
	// RFC9440 is the fields Client-Cert and Client-Cert-Chain: HAProxy and others can write them.
	RFC9440 Form = iota + 1
	// AmazonALB is X-Amzn-Mtls-Clientcert of an Application Load Balancer that passes certificates through.
	AmazonALB
	// AmazonALBLeaf is X-Amzn-Mtls-Clientcert-Leaf of an Application Load Balancer that verifies them.
	AmazonALBLeaf
	// Envoy is x-forwarded-client-cert with the elements Cert or Chain, which Envoy adds when set_current_client_cert_details
	// says so, in the mode SANITIZE_SET.
	Envoy
	// EscapedPEM is nginx's $ssl_client_escaped_cert in a field of any name.
	EscapedPEM
)

// DefaultEscapedField is the field of [EscapedPEM] if the terminator names none: ingress-nginx calls it so.
const DefaultEscapedField = "ssl-client-cert"

// Terminator is a proxy that ends TLS in front of the receiver and tells in a header who called. It has to remove the
// same header from what clients send. The certificate that it tells is verified again; what the proxy adds about it in
// words is not believed.
//
// It says that the proxy saw the certificate, not that the client holds the key: a proxy that does not make the handshake
// verify the client (nginx's ssl_verify_client on or optional_no_ca, say) lets anyone use anyone's certificate.
type Terminator struct {
	// Form is how the certificate is told. Needed.
	Form Form
	// Field names the header field of [EscapedPEM]. Empty means [DefaultEscapedField].
	Field string
	// Hops are the addresses from which the proxy itself calls. Give these, Names, or both; then both have to hold.
	Hops []netip.Prefix
	// Names are the names of the proxy's own client certificate, as in [Options.Clients]. The receiver's TLS
	// configuration has to verify it.
	Names []string
	// Roots are the authorities that may issue the client's certificate. Needed: the system's roots never count.
	Roots *x509.CertPool
}

// terminator is a checked Terminator.
type terminator struct {
	Terminator

	names allowed
	field string // the one field that is expected, in canonical form
}

const rfc9440Chain = "Client-Cert-Chain"

func (t Terminator) check() (*terminator, error) {
	var problems []error
	add := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("Terminator: "+format, args...))
	}
	checked := &terminator{Terminator: t}
	switch t.Form {
	case RFC9440:
		checked.field = "Client-Cert"
	case AmazonALB:
		checked.field = "X-Amzn-Mtls-Clientcert"
	case AmazonALBLeaf:
		checked.field = "X-Amzn-Mtls-Clientcert-Leaf"
	case Envoy:
		checked.field = "X-Forwarded-Client-Cert"
	case EscapedPEM:
		checked.field = textproto.CanonicalMIMEHeaderKey(DefaultEscapedField)
		if t.Field != "" {
			checked.field = textproto.CanonicalMIMEHeaderKey(t.Field)
		}
	default:
		add("its Form is missing; say how the proxy tells the client's certificate")
	}
	if t.Field != "" && (t.Form != EscapedPEM || strings.Trim(strings.ToLower(t.Field), "abcdefghijklmnopqrstuvwxyz0123456789-") != "") {
		add("Field is only for EscapedPEM, and is a name of letters, digits and '-'")
	}
	if len(t.Hops) == 0 && len(t.Names) == 0 {
		add("Hops and Names are empty, so anyone could claim to be the proxy; say where it calls from, or its certificate's name")
	}
	for i, hop := range t.Hops {
		if !hop.IsValid() || hop.Bits() == 0 {
			add("Hops[%d] is not a network, or is all of them", i)
		}
	}
	if t.Roots == nil {
		add("Roots is missing; give the authority that issues the sender's certificate")
	}
	if len(t.Names) > 0 {
		names, err := parseClients(t.Names)
		if err != nil {
			add("Names: %w", err)
		}
		checked.names = names
	}
	checked.Hops, checked.Names = slices.Clone(t.Hops), slices.Clone(t.Names)
	return checked, errors.Join(problems...)
}

// client returns the verified certificate that the proxy tells.
func (t *terminator) client(r *http.Request, now time.Time) (*x509.Certificate, error) {
	if err := t.trusted(r, now); err != nil {
		return nil, err
	}
	value, chain, err := t.fields(r.Header)
	if err != nil {
		return nil, err
	}
	certs, err := t.parse(value, chain)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(certs, oversized) {
		return nil, errTold
	}
	intermediates := x509.NewCertPool()
	for _, cert := range certs[1:] {
		intermediates.AddCert(cert)
	}
	if _, err := certs[0].Verify(x509.VerifyOptions{
		Roots: t.Roots, Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err != nil {
		// The words of x509 repeat what stands in the certificate, which the caller wrote.
		return nil, errors.New("the client certificate that the proxy tells was not issued for clients by a trusted authority, or is not valid at this time")
	}
	return certs[0], nil
}

// trusted checks the hop before anything that it says is read.
func (t *terminator) trusted(r *http.Request, now time.Time) error {
	if len(t.Hops) > 0 {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !slices.ContainsFunc(t.Hops, func(p netip.Prefix) bool { return p.Contains(from.Addr().Unmap().WithZone("")) }) {
			return errors.New("the request did not come from the proxy that ends TLS for this receiver")
		}
	}
	if len(t.Names) > 0 {
		leaf, err := ofConnection(r.TLS, now)
		if err == nil {
			_, err = t.names.name(leaf)
		}
		if err != nil {
			return errors.New("the request did not come with the certificate of the proxy that ends TLS for this receiver")
		}
	}
	return nil
}

// fields takes the one field that is expected and refuses every other that tells an identity: a proxy that does not write
// a field does not remove it either.
func (t *terminator) fields(header http.Header) (value, chain string, err error) {
	for name, values := range header {
		canonical := textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(name, "_", "-"))
		ours := name == t.field || (t.Form == RFC9440 && name == rfc9440Chain)
		switch {
		case !ours && (canonical == t.field || identityField(strings.ToLower(name))) && !t.accompanies(name):
			return "", "", errors.New("the request tells a client certificate in a header that the proxy does not write; let the proxy remove it")
		case ours && len(values) != 1:
			return "", "", errors.New("the header that tells the client certificate occurs more than once; let the proxy replace what a client sends")
		}
	}
	if value = header.Get(t.field); value == "" {
		return "", "", errors.New("the proxy tells no client certificate; call with one, and let the proxy require it")
	}
	if t.Form == RFC9440 {
		chain = header.Get(rfc9440Chain)
	}
	return value, chain, nil
}

// accompanies knows the fields that a load balancer of Amazon writes beside the leaf. They are not read.
func (t *terminator) accompanies(name string) bool {
	return t.Form == AmazonALBLeaf && slices.Contains([]string{
		"X-Amzn-Mtls-Clientcert-Serial-Number", "X-Amzn-Mtls-Clientcert-Issuer", "X-Amzn-Mtls-Clientcert-Subject", "X-Amzn-Mtls-Clientcert-Validity",
	}, name)
}

// identityField knows the fields, in lower case, by which terminators tell a client's certificate. '_' counts as '-'.
func identityField(name string) bool {
	name = strings.ReplaceAll(name, "_", "-")
	switch name {
	case "client-cert", "client-cert-chain", "x-forwarded-client-cert", "x-client-cert", "x-ssl-cert", "x-forwarded-tls-client-cert":
		return true
	}
	for _, prefix := range []string{"x-amzn-mtls-", "ssl-client-", "x-ssl-client-", "x-client-certificate-", "x-tls-client-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
