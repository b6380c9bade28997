package signature

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Names of algorithms, beside [AlgorithmSHA256] and [AlgorithmSHA512].
const (
	// AlgorithmEd25519 is Ed25519 (RFC 8032).
	AlgorithmEd25519 = "ed25519"
	// AlgorithmECDSA is ECDSA on P-256 with SHA-256 (FIPS 186-5).
	AlgorithmECDSA = "ecdsa-p256-sha256"
	// AlgorithmSHA1 is HMAC-SHA1, which is weak; see [WeakAlgorithm].
	AlgorithmSHA1 = "hmac-sha1"
)

// ErrAlgorithmRefused means that a [Policy] does not allow a scheme's algorithm,
// so that nothing is signed.
var ErrAlgorithmRefused = errors.New("signature algorithm not allowed")

// Algorithms returns the names of every algorithm that a scheme signs with. The
// set is closed.
func Algorithms() []string {
	return []string{AlgorithmSHA256, AlgorithmSHA512, AlgorithmEd25519, AlgorithmECDSA, AlgorithmSHA1}
}

// Algorithm names what the scheme signs with. Only [TemplateScheme] looks at the
// template. The error wraps [ErrUnknownScheme].
func Algorithm(scheme string, t Template) (string, error) {
	switch scheme {
	case V1, HTTPHMAC, DocuSign, PagerDuty, GitHub, Stripe, Slack, Shopify:
		return AlgorithmSHA256, nil
	case V1a, HTTPEd25519:
		return AlgorithmEd25519, nil
	case HTTPECDSA:
		return AlgorithmECDSA, nil
	case Twilio:
		return AlgorithmSHA1, nil
	case TemplateScheme:
		return t.withDefaults().Algorithm, nil
	}
	_, err := lookup(scheme)
	if err == nil { // a scheme that nobody has added above: it must not slip through
		err = fmt.Errorf("%w: nothing is known of the algorithm of scheme %s", ErrUnknownScheme, scheme)
	}
	return "", err
}

// WeakAlgorithm says in words why an algorithm should not be chosen where there
// is a choice, and "" for one that nothing is known against.
func WeakAlgorithm(name string) string {
	if name == AlgorithmSHA1 {
		return "hmac-sha1 rests on SHA-1, for which collisions have been made; it is allowed only where it is named, for receivers that cannot be changed"
	}
	return ""
}

// Policy says which algorithms may sign. The zero value allows every one that is
// not weak. It is configuration of the sender; nothing in a request changes it.
type Policy struct {
	// Algorithms are the allowed ones, each one of the function [Algorithms]. A
	// weak one is allowed only by being here. Empty stands for all that are not
	// weak.
	Algorithms []string
}

// Allows reports whether the algorithm may sign. An unknown one may not.
func (p Policy) Allows(algorithm string) bool {
	switch algorithm {
	case AlgorithmSHA256, AlgorithmSHA512, AlgorithmEd25519, AlgorithmECDSA:
		return len(p.Algorithms) == 0 || slices.Contains(p.Algorithms, algorithm)
	}
	return algorithm == AlgorithmSHA1 && slices.Contains(p.Algorithms, algorithm)
}

// Check returns nil when every scheme may sign, and else an error that lists
// those that may not, with what would allow them. It wraps [ErrAlgorithmRefused]
// or [ErrUnknownScheme].
func (p Policy) Check(schemes []string, t Template) error {
	var problems []error
	for _, scheme := range schemes {
		algorithm, err := Algorithm(scheme, t)
		switch {
		case err != nil:
			problems = append(problems, err)
		case p.Allows(algorithm):
		case len(p.Algorithms) == 0:
			problems = append(problems, fmt.Errorf("%w: scheme %s signs with %s, which is weak and has to be named to be used", ErrAlgorithmRefused, scheme, algorithm))
		default:
			problems = append(problems, fmt.Errorf("%w: scheme %s signs with %s, and only %s may be used", ErrAlgorithmRefused, scheme, algorithm, strings.Join(p.Algorithms, ", ")))
		}
	}
	return errors.Join(problems...)
}
