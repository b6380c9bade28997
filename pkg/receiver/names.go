package receiver

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

const maxDNSName = 253 // characters, RFC 1035 section 2.3.4

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
