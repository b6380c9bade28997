package signature

import (
	"encoding/base64"
	"strings"
)

// stripeLength is how many letters and digits follow "whsec_" at Stripe.
const stripeLength = 32

// Lookalike returns a warning in words if the secret is a good one for the
// scheme but could as well be the secret of a provider that uses other key bytes
// for the same text, and "" if not. Stripe's secrets and those of Standard
// Webhooks cannot always be told apart; only the person who imports one knows.
func Lookalike(scheme, secret string) string {
	text, prefixed := strings.CutPrefix(secret, prefixSecret)
	if !prefixed {
		return ""
	}
	switch scheme {
	case V1:
		if len(text) == stripeLength && !strings.ContainsAny(text, "+/=-_") {
			return "this secret has the shape of a Stripe secret as well (whsec_ and 32 letters or digits); " + stripeHint
		}
	case Stripe:
		raw, err := base64.StdEncoding.Strict().DecodeString(text)
		if err == nil && len(raw) >= minSecretSize && len(raw) <= maxSecretSize && !looksHex(text) {
			return "this secret has the shape of a Standard Webhooks secret as well (whsec_ and base64); " +
				"if it comes from one, choose scheme v1: Stripe uses the whole text as the key and Standard Webhooks the bytes behind whsec_, so the signatures would never match"
		}
	case DocuSign, PagerDuty, GitHub, Slack, Shopify, Twilio, TemplateScheme:
		return "this secret starts with whsec_ as those of Standard Webhooks (scheme v1) and of Stripe (scheme stripe) do; " +
			"with scheme " + scheme + " the whole text is the key"
	}
	return ""
}
