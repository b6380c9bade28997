package receiver

import (
	"errors"
	"strconv"

	"github.com/handfast/handfast/pkg/mtls"
)

var (
	errNotReady = errors.New("it did not listen in time")
	errEnded    = errors.New("it ended instead of listening")
)

// verdict is what a delivery must end in.
type verdict struct {
	kind  mtls.Kind // 0: delivered
	basis mtls.Basis
	words string // in the detail of a delivery's failure
	// doctor is what the doctor says of the same.
	doctor string
}

func delivered() verdict { return verdict{} }

// alerted is a refusal by a TLS alert of this name.
func alerted(name string) verdict {
	return verdict{kind: mtls.ClientCertificateRefused, basis: mtls.Said, words: strconv.Quote(name), doctor: strconv.Quote(name)}
}

// cut is a refusal without a word.
func cut() verdict {
	return verdict{kind: mtls.ClientCertificateRefused, basis: mtls.Inferred, words: "cut the connection", doctor: "without a word"}
}

// page is a refusal by an HTTP answer.
func page() verdict {
	return verdict{kind: mtls.ClientCertificateRefused, basis: mtls.Said, words: "HTTP 400 with a page", doctor: "HTTP 400"}
}

// alerts is how a listener names each fault.
type alerts map[string]string

func (a alerts) verdict(identity string, _ terms) verdict { return alerted(a[identity]) }
