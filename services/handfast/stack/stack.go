package stack

import (
	"embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

//go:embed template
var templates embed.FS

// Input is one deployment and one receiver. CA, SAN and Host are needed always, Upstream where the stack forwards
// requests to an application; everything else has a default.
type Input struct {
	// CA is the certificate that issues Handfast's client certificates, as PEM; several while a root is replaced.
	CA []byte
	// SAN is the subject alternative name in Handfast's certificate: an absolute URI or a DNS name, without a wildcard.
	SAN string
	// Subject is the whole subject of that certificate as RFC 4514 writes it, for stacks that see no SAN. The default is
	// CN= and the SAN, which is what Handfast's own authority writes when the SAN has at most 64 characters.
	Subject string
	// Host is the receiver's own name, as in its URL.
	Host string
	// Listen is HOST:PORT or :PORT. The default is :443, and :8443 for programs.
	Listen string
	// Upstream is the application behind, as HOST:PORT; in Kubernetes, SERVICE:PORT.
	Upstream string
	// Certificate and Key are the paths of the receiver's own server certificate and its key.
	Certificate, Key string
	// CAFile is the path under which the configuration finds CA.
	CAFile string
	// Namespace is the one of the Ingress.
	Namespace string
}

// Output is a configuration with all that belongs to it.
type Output struct {
	// Files holds the text of each file by its name; none has a folder.
	Files map[string]string
	// Config is the name of the configuration itself among them.
	Config string
	// Warnings are sentences for the person who asked.
	Warnings []string
}

// CAName is the name of the file with the CA certificates among the files of every [Output].
const CAName = "ca.pem"

// Order gives the names of the files: the configuration first, then the others by name.
func (o Output) Order() []string {
	names := []string{o.Config}
	for _, name := range slices.Sorted(maps.Keys(o.Files)) {
		if name != o.Config {
			names = append(names, name)
		}
	}
	return names
}

// ErrUnknown means that there is no stack of that name.
var ErrUnknown = errors.New("unknown stack")

// Names lists the stacks.
func Names() []string {
	names := make([]string, 0, len(kinds()))
	for _, k := range kinds() {
		names = append(names, k.name)
	}
	return names
}

// ReadsCA tells whether the configuration of a stack finds the CA in a file, at [Input.CAFile].
func ReadsCA(name string) bool {
	return slices.ContainsFunc(kinds(), func(k kind) bool { return k.name == name && k.uses&usesCAFile != 0 })
}

// Render writes the configuration of one stack. The error is [ErrUnknown], or an [*Error] with everything that is missing
// or wrong in the input.
func Render(name string, in Input) (Output, error) {
	at := slices.IndexFunc(kinds(), func(k kind) bool { return k.name == name })
	if at < 0 {
		return Output{}, fmt.Errorf("%w: %q; there are %s", ErrUnknown, name, strings.Join(Names(), ", "))
	}
	k := kinds()[at]
	p, warnings, err := k.check(in)
	if err != nil {
		return Output{}, err
	}
	files := map[string]string{CAName: p.CA}
	for file, source := range k.files {
		if files[file], err = p.execute(source); err != nil {
			return Output{}, err
		}
	}
	return Output{Files: files, Config: k.config, Warnings: warnings}, nil
}
