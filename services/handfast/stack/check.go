package stack

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Error is everything that is missing or wrong in an [Input].
type Error struct {
	// Stack is the one that was asked for.
	Stack string
	// Problems are sentences; each begins with the name of the flag that mends it.
	Problems []error
}

// Error lists the problems, a line each.
func (e *Error) Error() string {
	lines := make([]string, 0, len(e.Problems)+1)
	lines = append(lines, "no configuration for "+e.Stack+" was written:")
	for _, problem := range e.Problems {
		lines = append(lines, "  "+problem.Error())
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the problems.
func (e *Error) Unwrap() []error { return e.Problems }

// What may stand in a configuration. Each of these characters means itself in all of the formats, inside the quotes that
// the templates put around it.
var (
	uriForm     = regexp.MustCompile(`^[a-z][a-z0-9.-]*:[A-Za-z0-9._~/:@-]+\z`)
	dnsForm     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\z`)
	pathForm    = regexp.MustCompile(`^[A-Za-z0-9._/@-]+\z`)
	subjectForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9.]*=[A-Za-z0-9._~/:@ =,-]*[A-Za-z0-9._~/:@-]\z`)
	serviceForm = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?\z`)
)

// maxCommonName is the longest common name (RFC 5280, appendix A, ub-common-name): a longer SAN is not in the subject.
const maxCommonName = 64

const (
	defaultFolder    = "/etc/handfast/"
	defaultNamespace = "default"
)

// check completes the input, or says everything that is wrong with it.
func (k kind) check(in Input) (page, []string, error) {
	c := checker{kind: k, in: in, page: page{Stack: k.name, Header: k.header, Wire: k.wire, MaxBody: maxBody}}
	c.name()
	c.authority()
	c.host()
	c.server()
	c.upstream()
	c.subject()
	c.placement()
	if len(c.problems) > 0 {
		return page{}, nil, &Error{Stack: k.name, Problems: c.problems}
	}
	return c.page, c.warnings, nil
}

type checker struct {
	kind     kind
	in       Input
	page     page
	problems []error
	warnings []string
}

func (c *checker) wrongf(format string, args ...any) {
	c.problems = append(c.problems, fmt.Errorf(format, args...))
}

// useless refuses a value that would be ignored.
func (c *checker) useless(flag, value string, needs use) bool {
	if c.kind.uses&needs != 0 {
		return false
	}
	if value != "" {
		c.wrongf("%s: has no meaning for %s; leave it out", flag, c.kind.name)
	}
	return true
}

func (c *checker) name() {
	san := c.in.SAN
	switch {
	case san == "":
		c.wrongf("--san: is needed: the name in Handfast's client certificate, such as spiffe://example.com/handfast")
	case strings.Contains(san, ":"):
		c.page.SAN, c.page.Type = san, "URI"
		if !uriForm.MatchString(san) {
			c.wrongf("--san: %q is not an absolute URI of letters, digits and -._~/:@; nothing else is safe in every configuration", san)
		}
	default:
		// As it stands in the certificate: not every stack compares DNS names without regard to case.
		c.page.SAN, c.page.Type = san, "DNS"
		if !dnsForm.MatchString(strings.ToLower(san)) {
			c.wrongf("--san: %q is neither an absolute URI nor a DNS name; wildcards do not name anybody", san)
		}
	}
}

func (c *checker) host() {
	host := strings.ToLower(strings.TrimSuffix(c.in.Host, "."))
	_, err := netip.ParseAddr(host)
	switch {
	case host == "":
		c.wrongf("--host: is needed: the receiver's own name, as in its URL, such as hooks.example.com")
	case err != nil && !dnsForm.MatchString(host):
		c.wrongf("--host: %q is neither a DNS name nor an address", c.in.Host)
	}
	c.page.Host = host
}

func (c *checker) server() {
	if c.useless("--listen", c.in.Listen, usesServer) {
		c.useless("--certificate", c.in.Certificate, usesServer)
		c.useless("--key", c.in.Key, usesServer)
		return
	}
	listen := c.in.Listen
	if listen == "" {
		listen = c.kind.listen
	}
	host, port, err := split(listen)
	if err == nil && host != "" {
		_, err = netip.ParseAddr(host)
	}
	if err != nil {
		c.wrongf("--listen: %q is not ADDRESS:PORT or :PORT", listen)
	}
	c.page.ListenHost, c.page.ListenPort = host, port
	c.page.Certificate = c.path("--certificate", c.in.Certificate, defaultFolder+"receiver.pem")
	key := defaultFolder + "receiver.key"
	if c.kind.oneFile {
		key = c.page.Certificate + ".key"
		if given := c.in.Key; given != "" && given != key && given != c.page.Certificate {
			c.wrongf("--key: haproxy reads the key from the certificate's own file, or from %s beside it; put it there, or give one path for both", key)
		}
	}
	c.page.Key = c.path("--key", c.in.Key, key)
}

func (c *checker) upstream() {
	if c.useless("--upstream", c.in.Upstream, usesUpstream) {
		return
	}
	if c.in.Upstream == "" {
		example := "127.0.0.1:8080"
		if c.kind.uses&usesNamespace != 0 {
			example = "orders:8080"
		}
		c.wrongf("--upstream: is needed: where the application listens, such as %s", example)
		return
	}
	host, port, err := split(c.in.Upstream)
	host = strings.ToLower(host)
	if err == nil {
		_, ip := netip.ParseAddr(host)
		switch {
		case c.kind.uses&usesNamespace != 0 && !serviceForm.MatchString(host):
			err = errors.New("not a service")
		case ip != nil && !dnsForm.MatchString(host):
			err = ip
		}
	}
	if err != nil {
		c.wrongf("--upstream: %q is not the application's HOST:PORT", c.in.Upstream)
	}
	c.page.UpstreamHost, c.page.UpstreamPort = host, port
}

func (c *checker) subject() {
	if c.useless("--subject", c.in.Subject, usesSubject) {
		return
	}
	subject := c.in.Subject
	if subject == "" {
		if len(c.page.SAN) > maxCommonName {
			c.wrongf("--subject: is needed: %s sees no SAN, and this one is too long to stand in the subject as well; give the certificate's whole subject", c.kind.name)
			return
		}
		subject = "CN=" + c.page.SAN
	}
	if !subjectForm.MatchString(subject) && c.page.SAN != "" {
		c.wrongf("--subject: %q is not a whole subject such as CN=name,O=example, of letters, digits and -._~/:@ = , and space", subject)
	}
	c.page.Subject = subject
}

func (c *checker) placement() {
	if !c.useless("--ca-path", c.in.CAFile, usesCAFile) {
		c.page.CAFile = c.path("--ca-path", c.in.CAFile, defaultFolder+CAName)
	}
	if c.useless("--namespace", c.in.Namespace, usesNamespace) {
		return
	}
	c.page.Namespace = c.in.Namespace
	if c.page.Namespace == "" {
		c.page.Namespace = defaultNamespace
	}
	if !serviceForm.MatchString(c.page.Namespace) {
		c.wrongf("--namespace: %q is not the name of a namespace", c.page.Namespace)
	}
}

// path checks a path. It has to be absolute: a server does not start where the person stands who printed this.
func (c *checker) path(flag, given, otherwise string) string {
	if given == "" {
		return otherwise
	}
	if !filepath.IsAbs(given) || !pathForm.MatchString(given) {
		c.wrongf("%s: %q is not an absolute path of letters, digits and -._@/", flag, given)
	}
	return given
}

func split(address string) (host, port string, err error) {
	if host, port, err = net.SplitHostPort(address); err != nil {
		return "", "", fmt.Errorf("split %q: %w", address, err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", "", fmt.Errorf("%q is no port", port)
	}
	return host, port, nil
}
