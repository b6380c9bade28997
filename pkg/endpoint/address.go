package endpoint

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

const httpsPort = 443

// address is the URL taken apart. Host and authority are empty after a problem.
type address struct {
	url       *url.URL
	host      string
	authority string
}

// address reads the URL. Messages never repeat it: user name, path and query
// are often secrets.
func (b builder) address() address {
	const path = "url"
	given := text(b.root, path)
	if given == "" || !b.found.clean(path) {
		return address{}
	}
	if strings.ContainsFunc(given, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		b.found.addf(path, "contains a space or a control character: percent-encode it")
		return address{}
	}
	parsed, err := url.Parse(given)
	if err != nil {
		b.found.addf(path, "is not a valid URL: %s", urlReason(err))
		return address{}
	}
	if parsed.Scheme != "https" {
		b.found.addf(path, "must begin with https://, because a message leaves only over TLS")
	}
	if parsed.User != nil {
		b.found.addf(path, "must not hold a user name or password: the receiver knows us by our certificate and signatures")
	}
	if strings.Contains(given, "#") {
		b.found.addf(path, "must not hold a fragment (#…): it would never reach the receiver")
	}
	out := address{url: parsed}
	port := b.port(path, parsed)
	if parsed.Hostname() == "" {
		b.found.addf(path, "has no host: write it as https://host/path")
		return out
	}
	host, problem := normalHost(parsed.Hostname())
	if problem != "" {
		b.found.addf(path, "the host %s %s", quote(parsed.Hostname()), problem)
		return out
	}
	out.host, out.authority = host, net.JoinHostPort(host, strconv.Itoa(port))
	return out
}

func (b builder) port(path string, parsed *url.URL) int {
	given := parsed.Port()
	if given == "" {
		if strings.HasSuffix(parsed.Host, ":") {
			b.found.addf(path, "has a colon but no port after the host: remove the colon, or write the port")
		}
		return httpsPort
	}
	port, err := strconv.ParseUint(given, 10, 16)
	if err != nil || port == 0 {
		b.found.addf(path, "the port %s is not valid: use a number from 1 to 65535", quote(given))
	}
	return int(port)
}

// urlReason tells why url.Parse failed, without the texts that it quotes: they
// may come from a password.
func urlReason(err error) string {
	var escape url.EscapeError
	var host url.InvalidHostError
	switch {
	case errors.As(err, &escape):
		return "a % must be followed by two hexadecimal digits"
	case errors.As(err, &host):
		return "the host contains a character that no host name has"
	default:
		return "check the host, the port and the brackets of an IPv6 address"
	}
}

// normalHost brings a DNS name or an IP literal (without brackets) into its one
// spelling, or says what is wrong in words that follow the host.
func normalHost(given string) (host, problem string) {
	if strings.Contains(given, ":") {
		ip, err := netip.ParseAddr(given)
		switch {
		case err != nil:
			return "", "is not a valid IPv6 address"
		case ip.Zone() != "":
			return "", "holds an IPv6 zone, which means something only on one machine: remove it"
		}
		return ip.Unmap().String(), ""
	}
	if ip, err := netip.ParseAddr(given); err == nil {
		return ip.String(), ""
	}
	if strings.HasSuffix(given, ".") {
		return "", "ends with a dot: remove it"
	}
	if strings.Contains(given, "*") {
		return "", "holds a wildcard: write one name"
	}
	// MapForLookup and BidiRule are UTS 46 as browsers apply it; hyphens are not
	// checked, because names such as r3---sn-a1.example.com are in use; letters
	// are left to labelProblem, which says which one it is.
	profile := idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.CheckHyphens(false), idna.StrictDomainName(false), idna.VerifyDNSLength(true))
	host, err := profile.ToASCII(given)
	if err != nil {
		return "", "is not a valid DNS name"
	}
	if problem := labelProblem(host); problem != "" {
		return "", problem
	}
	return host, ""
}

// labelProblem applies RFC 1123 section 2.1, and refuses what some resolvers
// take for an IPv4 address in disguise (127.1, 0x7f000001, full-width digits).
func labelProblem(host string) string {
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "is not a valid DNS name"
		}
		for i := range len(label) {
			switch c := label[i]; {
			case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-':
			case c == '_':
				return "contains an underscore, which no certificate can name: use a hyphen"
			default:
				return fmt.Sprintf("contains %q, which no DNS name has", rune(c))
			}
		}
	}
	last := labels[len(labels)-1]
	hex, isHex := strings.CutPrefix(last, "0x")
	if strings.Trim(last, "0123456789") == "" || isHex && strings.Trim(hex, "0123456789abcdef") == "" {
		return "looks like a number, not a name: write an IPv4 address as four decimal numbers"
	}
	return ""
}
