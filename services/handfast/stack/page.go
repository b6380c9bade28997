package stack

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"text/template"
)

// maxBody is how many bytes of a body a receiver takes: an event has at most 256 KiB, and base64 makes it longer.
const maxBody = 1 << 20

// page is what the templates see: an input that was checked.
type page struct {
	Stack                  string
	CA, CAFile             string
	SAN, Type, Subject     string
	Host, Namespace        string
	ListenHost, ListenPort string
	UpstreamHost           string
	UpstreamPort           string
	Certificate, Key       string
	Header                 string
	Wire                   wire
	MaxBody                int
}

// Listen is the address to listen on, as programs write it.
func (p page) Listen() string { return net.JoinHostPort(p.ListenHost, p.ListenPort) }

// Upstream is the application's address.
func (p page) Upstream() string { return net.JoinHostPort(p.UpstreamHost, p.UpstreamPort) }

// IsIPv6 tells that the host is an address that a URL puts into brackets.
func (p page) IsIPv6() bool { return strings.Contains(p.Host, ":") }

// Methods are those that a receiver answers.
func (page) Methods() []string { return []string{http.MethodPost, http.MethodOptions} }

// URL is where Handfast will call.
func (p page) URL() string {
	port := p.ListenPort
	if port == "" || port == "443" {
		if p.IsIPv6() {
			return "https://[" + p.Host + "]/"
		}
		return "https://" + p.Host + "/"
	}
	return "https://" + net.JoinHostPort(p.Host, port) + "/"
}

// Foreign is the headers to take away: all but those that the stack sets itself.
func (page) Foreign(own ...string) []string {
	return slices.DeleteFunc(identityHeaders(), func(name string) bool { return slices.Contains(own, name) })
}

// Line is the CA's text with each line behind a prefix.
func (p page) Line(prefix string) string { return behind(prefix, p.CA) }

// behind puts a prefix before each line. The last line has no end.
func behind(prefix, text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(prefix+line, " ")
	}
	return strings.Join(lines, "\n")
}

// Signature reminds of the other half, as a comment.
func (p page) Signature(prefix string) (string, error) {
	text, err := p.execute("shared/signature.txt")
	return behind(prefix, text), err
}

// Check says how to try it, as a comment: the last one of each configuration.
func (p page) Check(prefix string) (string, error) {
	text, err := p.execute("shared/check.txt")
	return behind(prefix, text), err
}

func (p page) execute(source string) (string, error) {
	text, err := templates.ReadFile("template/" + source + ".tmpl")
	if err != nil {
		return "", fmt.Errorf("stack %s: %w", p.Stack, err)
	}
	parsed, err := template.New(path.Base(source)).Funcs(template.FuncMap{"lower": strings.ToLower}).Option("missingkey=error").Parse(string(text))
	if err != nil {
		return "", fmt.Errorf("stack %s: %w", p.Stack, err)
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, p); err != nil {
		return "", fmt.Errorf("stack %s: %w", p.Stack, err)
	}
	return out.String(), nil
}
