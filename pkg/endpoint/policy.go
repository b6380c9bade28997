package endpoint

import (
	"slices"
	"strings"
)

const algorithmsPath = "signature.algorithms"

// algorithmNames are the choices of signature.algorithms.
const algorithmNames = "hmac-sha256, hmac-sha512, ed25519, ecdsa-p256-sha256 and hmac-sha1"

// weakAlgorithm is the one that has to be named to be used.
const weakAlgorithm = "hmac-sha1"

// schemeList is every scheme, with spaces between them.
const schemeList = "v1 v1a rfc9421-ed25519 rfc9421-ecdsa-p256-sha256 rfc9421-hmac-sha256 docusign pagerduty github stripe slack shopify twilio template"

// algorithm names what a scheme signs with. A test holds it against the package
// that signs.
func (s Signature) algorithm(scheme string) string {
	switch scheme {
	case "v1a", "rfc9421-ed25519":
		return "ed25519"
	case "rfc9421-ecdsa-p256-sha256":
		return "ecdsa-p256-sha256"
	case "twilio":
		return weakAlgorithm
	case "template":
		if s.Template.Algorithm != "" {
			return s.Template.Algorithm
		}
	}
	return "hmac-sha256"
}

// Allows reports whether the document's policy lets a scheme sign: its algorithm
// stands in Algorithms, or there is no such list and the algorithm is not weak.
func (s Signature) Allows(scheme string) bool {
	if s.Algorithms == nil {
		return s.algorithm(scheme) != weakAlgorithm
	}
	return slices.Contains(s.Algorithms, s.algorithm(scheme))
}

// Refused says in words which schemes the document's policy does not let sign,
// and what would; nothing for a document that Parse accepts. Restore gives back
// such a document so that it can be seen and mended; nothing is signed by it.
func (s Signature) Refused() []string {
	var words []string
	for _, scheme := range s.named() {
		if problem := s.refusal(scheme); problem != "" {
			words = append(words, "scheme "+scheme+" "+problem)
		}
	}
	return words
}

// refusal says why a scheme may not sign, "" if it may.
func (s Signature) refusal(scheme string) string {
	algorithm := s.algorithm(scheme)
	switch {
	case s.Allows(scheme):
		return ""
	case s.Algorithms == nil:
		return "signs with " + algorithm + ", which is weak: if the receiver cannot be changed, allow it by naming every algorithm in use, " +
			algorithmsPath + ": [" + strings.Join(s.inUse(), ", ") + "]; else choose another scheme"
	}
	return "signs with " + algorithm + ", which " + algorithmsPath + " does not allow: add it there, or choose another scheme"
}

// inUse are the algorithms of the schemes, each once.
func (s Signature) inUse() []string {
	var all []string
	for _, scheme := range s.Schemes {
		if name := s.algorithm(scheme); !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// algorithms reads the policy, and reports schemes that it does not let sign. A
// document that was stored before keeps them, and no signer signs by it.
func (b builder) algorithms(s Signature) []string {
	s.Algorithms = list(section(b.root, "signature"), "algorithms")
	b.distinct(algorithmsPath, s.Algorithms)
	if b.now.IsZero() || !b.found.clean(algorithmsPath) || !b.found.clean(templatePath) {
		return s.Algorithms
	}
	for i, scheme := range s.Schemes {
		path := element("signature.schemes", i)
		if problem := s.refusal(scheme); problem != "" && b.found.clean(path) {
			b.found.addf(path, "%s %s", scheme, problem)
		}
	}
	for _, old := range s.Retiring {
		path := join(retiringPath, old.Scheme)
		if problem := s.refusal(old.Scheme); problem != "" && b.found.clean(path) {
			b.found.addf(path, "%s %s", old.Scheme, problem)
		}
	}
	return s.Algorithms
}
