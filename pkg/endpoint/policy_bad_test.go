package endpoint

import (
	"testing"
	"time"
)

func TestBadPolicy(t *testing.T) {
	far := time.Now().Add(MaxRetiring + time.Hour).UTC().Format(time.RFC3339)
	for _, bad := range []badDocument{
		{"weak without a word", base + "signature: {schemes: [v1, twilio]}\n", []string{
			"signature.schemes[1]: twilio signs with hmac-sha1, which is weak: if the receiver cannot be changed, allow it by naming every algorithm in use, signature.algorithms: [hmac-sha256, hmac-sha1]; else choose another scheme",
		}},
		{"default schemes against the policy", base + "signature: {algorithms: [ed25519]}\n", []string{
			"signature.schemes[0]: v1 signs with hmac-sha256, which signature.algorithms does not allow: add it there, or choose another scheme",
		}},
		{"template against the policy", base + "signature: {algorithms: [hmac-sha256], schemes: [template], template: {header: X-Acme, content: '{body}', algorithm: hmac-sha512}}\n", []string{
			"signature.schemes[0]: template signs with hmac-sha512, which signature.algorithms does not allow: add it there, or choose another scheme",
		}},
		{"retiring against the policy", base + "signature: {algorithms: [ed25519], schemes: [v1a], retiring: {v1: 2020-01-01T00:00:00Z}}\n", []string{
			"signature.retiring.v1: v1 signs with hmac-sha256, which signature.algorithms does not allow: add it there, or choose another scheme",
		}},
		{"no choices", base + "signature: {algorithms: [hmac-md5, hmac-sha256, hmac-sha256]}\n", []string{
			`signature.algorithms[0]: "hmac-md5" is not an algorithm; choose from ` + algorithmNames,
			"signature.algorithms[2]: repeats signature.algorithms[1]: remove one of them",
		}},
		{"empty", base + "signature: {algorithms: []}\n", []string{
			"signature.algorithms: is an empty list: name every algorithm that may sign, or remove it for all that are not weak",
		}},
		{"null", base + "signature: {algorithms: }\n", []string{"signature.algorithms: " + nullMessage}},
		{"retiring", base + "signature: {schemes: [v1], retiring: {v1: 2020-01-01T00:00:00Z, v1a: soon, github: 2020-13-01T00:00:00Z, stripe: " + far + ", slack: 1, v2: 2020-01-01T00:00:00Z}}\n", []string{
			`signature.retiring.github: "2020-13-01T00:00:00Z" is not an instant: ` + instantRule,
			"signature.retiring.slack: must be text, not a number: put it in quotes",
			`signature.retiring.stripe: "` + far + `" is more than 2160h ahead: name an earlier instant, or leave the scheme in signature.schemes`,
			"signature.retiring.v1: stands in signature.schemes as well, where it signs without an end: remove it from one of them",
			`signature.retiring.v1a: "soon" is not allowed: ` + instantRule,
			"signature.retiring.v2: is not a field of an endpoint; the fields in signature.retiring are v1, v1a, rfc9421-ed25519, rfc9421-ecdsa-p256-sha256, rfc9421-hmac-sha256, docusign, pagerduty, github, stripe, slack, shopify, twilio and template",
		}},
	} {
		t.Run(bad.name, bad.check)
	}
}
