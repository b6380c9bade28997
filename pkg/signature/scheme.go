package signature

import (
	"fmt"
	"io"
	"strings"
)

// Names of the schemes.
const (
	// V1 is HMAC-SHA256 with a shared secret (Standard Webhooks 1.0.0, "v1").
	V1 = "v1"
	// V1a is Ed25519 with a key pair (Standard Webhooks 1.0.0, "v1a").
	V1a = "v1a"
	// HTTPEd25519, HTTPECDSA and HTTPHMAC are HTTP Message Signatures (RFC 9421)
	// over the request line, the Content-Digest (RFC 9530) and the webhook-id,
	// with Ed25519, with ECDSA on P-256 with SHA-256, and with HMAC-SHA256.
	HTTPEd25519 = "rfc9421-ed25519"
	HTTPECDSA   = "rfc9421-ecdsa-p256-sha256"
	HTTPHMAC    = "rfc9421-hmac-sha256"
	// DocuSign is X-DocuSign-Signature-1 to -N, one for each key.
	DocuSign = "docusign"
	// PagerDuty is X-PagerDuty-Signature, a list of v1=….
	PagerDuty = "pagerduty"
	// GitHub is X-Hub-Signature-256, which Meta's platforms use as well.
	GitHub = "github"
	// Stripe is Stripe-Signature.
	Stripe = "stripe"
	// Slack is X-Slack-Signature and X-Slack-Request-Timestamp.
	Slack = "slack"
	// Shopify is X-Shopify-Hmac-SHA256.
	Shopify = "shopify"
	// Twilio is X-Twilio-Signature. Its format prescribes HMAC-SHA1, which is
	// weak; see [Weak].
	Twilio = "twilio"
	// TemplateScheme is a header of one's own, described by a [Template].
	TemplateScheme = "template"
)

// Scheme is one way to sign a request.
type Scheme interface {
	// Name is the scheme's name, as in [Schemes].
	Name() string
	// Sign returns the header fields that sign r with every one of keys. It
	// refuses a key of another scheme, and having no keys; [Signer] is what picks
	// the keys.
	Sign(r Request, keys []Key) ([]Field, error)
}

// Extender is a [Scheme] that sends the request to a longer URL than the
// endpoint's. [Query] asks every scheme that is one.
type Extender interface {
	// Query returns what to append to the query of r.URL, as "name=value", or "".
	Query(r Request) (string, error)
}

// keyForm is what a scheme knows about its own keys.
type keyForm interface {
	parse(secret string) (*material, error)
	generate(random io.Reader) (*material, error)
	// public reads a public key; a scheme with shared secrets has none.
	public(text string) (publicKey, error)
}

// entry is one scheme with everything that this package knows about it.
type entry struct {
	Scheme
	keyForm

	check func(r Received, keys []Verifier, w window) (Verified, error)
	// oneKey says that the format has room for one signature.
	oneKey bool
	// id and time say what is signed beside the body.
	id, time bool
}

// Schemes returns the names of every scheme, the one that most receivers
// understand first. The set is closed.
func Schemes() []string {
	return append(Standard(), HTTPEd25519, HTTPECDSA, HTTPHMAC,
		DocuSign, PagerDuty, GitHub, Stripe, Slack, Shopify, Twilio, TemplateScheme)
}

// Standard returns the schemes of Standard Webhooks 1.0.0, by which an endpoint
// is signed unless it says otherwise.
func Standard() []string { return []string{V1, V1a} }

// Lookup returns the scheme of that name, and false if there is none. The one
// called [TemplateScheme] signs nothing without its [Template]; see
// [Template.Scheme].
func Lookup(name string) (Scheme, bool) {
	e, err := lookup(name)
	return e.Scheme, err == nil
}

// Weak says in words why a scheme should not be chosen where there is a choice,
// and "" for a scheme that nothing is known against.
func Weak(scheme string) string {
	if scheme == Twilio {
		return "twilio signs with HMAC-SHA1, because its format prescribes it, and covers neither a time nor an id; use it only for receivers that cannot be changed"
	}
	return ""
}

// OneKey reports whether the scheme's format has room for one signature only.
// [Signer] then signs with the first active key, and a rotation of its keys has
// no overlap: the receiver has to change its secret at the same instant. For
// [TemplateScheme] see [Template.OneKey].
func OneKey(scheme string) bool {
	e, err := lookup(scheme)
	return err == nil && e.oneKey
}

// SignsID reports whether the scheme signs the delivery's id, without which a
// receiver cannot tell a replay. For [TemplateScheme] see [Template.SignsID].
func SignsID(scheme string) bool {
	e, err := lookup(scheme)
	return err == nil && e.id
}

// SignsTime reports whether the scheme signs the time of the attempt. For
// [TemplateScheme] see [Template.SignsTime].
func SignsTime(scheme string) bool {
	e, err := lookup(scheme)
	return err == nil && e.time
}

func lookup(name string) (entry, error) {
	switch name {
	case V1:
		return entry{Scheme: hmacScheme{}, keyForm: standardSecret{}, check: verifyStandard, id: true, time: true}, nil
	case V1a:
		return entry{Scheme: ed25519Scheme{}, keyForm: standardPair{}, check: verifyStandard, id: true, time: true}, nil
	case HTTPEd25519, HTTPECDSA, HTTPHMAC:
		s := messageScheme{name: name}
		return entry{Scheme: s, keyForm: s.keys(), check: s.verify, id: true, time: true}, nil
	case DocuSign:
		return entry{Scheme: docuSign{}, keyForm: textSecret{scheme: name}, check: verifyDocuSign}, nil
	case PagerDuty:
		return entry{Scheme: pagerDuty{}, keyForm: textSecret{scheme: name}, check: verifyPagerDuty}, nil
	case GitHub:
		return entry{Scheme: gitHub{}, keyForm: textSecret{scheme: name}, check: verifyGitHub, oneKey: true}, nil
	case Shopify:
		return entry{Scheme: shopify{}, keyForm: textSecret{scheme: name}, check: verifyShopify, oneKey: true}, nil
	case Stripe:
		return entry{Scheme: stripe{}, keyForm: textSecret{scheme: name}, check: verifyStripe, time: true}, nil
	case Slack:
		return entry{Scheme: slack{}, keyForm: textSecret{scheme: name}, check: verifySlack, oneKey: true, time: true}, nil
	case Twilio:
		return entry{Scheme: twilio{}, keyForm: textSecret{scheme: name}, check: verifyTwilio, oneKey: true}, nil
	case TemplateScheme:
		return entry{Scheme: templated{}, keyForm: textSecret{scheme: name}, check: verifyTemplate}, nil
	}
	return entry{}, fmt.Errorf("%w %q; use one of %s", ErrUnknownScheme, name, strings.Join(Schemes(), ", "))
}
