package endpoint

import (
	"slices"
	"strings"
)

// Template is a signature header of one's own, as the document describes it. What
// was left out is "". Its fields are those of the signature package's Template,
// in the same order, so that one converts to the other.
type Template struct {
	// Header is the name of the field with the signature.
	Header string
	// Algorithm is "hmac-sha256", which "" means as well, or "hmac-sha512".
	Algorithm string
	// Encoding is "hex", which "" means as well, or "base64".
	Encoding string
	// Content is what is signed, with {id}, {timestamp} and {body} in it.
	Content string
	// Prefix stands in front of each signature, Separator between those of
	// several keys.
	Prefix, Separator string
	// IDHeader and TimestampHeader carry what {id} and {timestamp} stand for; ""
	// means webhook-id and webhook-timestamp.
	IDHeader, TimestampHeader string
}

const templatePath = "signature.template"

// template reads the template and reports what a schema cannot say about it. A
// test holds these rules against those by which it is signed.
func (b builder) template(schemes []string) Template {
	given, ok := section(b.root, "signature")["template"].(map[string]any)
	wanted := slices.Contains(schemes, "template")
	switch {
	case !ok && wanted && b.found.clean(templatePath):
		b.found.addf(templatePath, "is required, because signature.schemes lists template: write at least its header and its content")
		return Template{}
	case !ok:
		return Template{}
	case !wanted && b.found.clean("signature.schemes"):
		b.found.first(templatePath, "is not used, because signature.schemes does not list template: add it there, or remove this")
	}
	t := Template{
		Header: text(given, "header"), Algorithm: text(given, "algorithm"), Encoding: text(given, "encoding"), Content: text(given, "content"),
		Prefix: text(given, "prefix"), Separator: text(given, "separator"), IDHeader: text(given, "id_header"), TimestampHeader: text(given, "timestamp_header"),
	}
	b.templateHeaders(t)
	b.templateTexts(t)
	return t
}

func (b builder) templateHeaders(t Template) {
	names := []string{"header", "id_header", "timestamp_header"}
	values := []string{t.Header, t.IDHeader, t.TimestampHeader}
	for i, fallback := range []string{"", "webhook-id", "webhook-timestamp"} {
		path := join(templatePath, names[i])
		if values[i] == "" {
			values[i] = fallback
		} else if b.found.clean(path) && reservedHeader(strings.ToLower(values[i])) {
			b.found.addf(path, "%s is a header field that has another meaning: %s", quote(values[i]), headerRule)
		}
		for j, other := range values[:i] {
			if other != "" && strings.EqualFold(other, values[i]) {
				b.found.first(path, "is the same header field as "+join(templatePath, names[j])+": give each its own")
			}
		}
	}
}

// reservedHeader names the fields that HTTP, the trace, another scheme or
// Handfast itself sets.
func reservedHeader(name string) bool {
	switch name {
	case "accept-encoding", "authorization", "connection", "content-encoding", "content-length", "content-type", "content-digest",
		"cookie", "date", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "user-agent",
		"traceparent", "tracestate", "webhook-signature", "signature", "signature-input",
		"x-authorization-digest", "x-pagerduty-signature", "x-hub-signature-256", "x-shopify-hmac-sha256", "stripe-signature",
		"x-slack-signature", "x-slack-request-timestamp", "x-twilio-signature":
		return true
	}
	for _, prefix := range []string{"handfast-", "nats-", "proxy-", "sec-", "ce-", "access-control-", "x-docusign-signature-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func (b builder) templateTexts(t Template) {
	if path := join(templatePath, "content"); t.Content != "" && b.found.clean(path) {
		if problem := contentProblem(t.Content); problem != "" {
			b.found.addf(path, "%s", problem)
		}
	}
	path := join(templatePath, "separator")
	if t.Separator == "" || !b.found.clean(path) {
		return
	}
	switch {
	case strings.Trim(t.Separator, letters+"+/=") == "":
		b.found.addf(path, "%s consists of characters that a signature can have: use a comma, a space or the like", quote(t.Separator))
	case strings.Contains(t.Prefix, t.Separator):
		b.found.addf(path, "%s stands in the prefix as well, so that the list could not be taken apart: choose another", quote(t.Separator))
	}
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// contentProblem says what keeps the content from being taken apart in one way
// only, "" for nothing.
func contentProblem(content string) string {
	places := []string{"{id}", "{timestamp}", "{body}"}
	for _, place := range places {
		if strings.Count(content, place) > 1 {
			return "has " + place + " more than once: once is enough"
		}
	}
	if !strings.Contains(content, "{body}") {
		return "has no {body}, so that the body would not be signed: write for example {id}.{timestamp}.{body}"
	}
	if strings.ContainsFunc(content, func(c rune) bool { return c < ' ' || c > '~' }) {
		return "has a character that is not visible ASCII: write it in one line, without letters beyond A to Z"
	}
	const place = "\x00" // stands in no content, as was just seen
	parts := strings.Split(strings.NewReplacer("{id}", place, "{timestamp}", place, "{body}", place).Replace(content), place)
	for i, part := range parts {
		if strings.ContainsAny(part, "{}") {
			return "has a brace that belongs to none of {id}, {timestamp} and {body}: remove it"
		}
		between := i > 0 && i < len(parts)-1
		if between && (part == "" || strings.IndexByte(letters+"_-", part[0]) >= 0 || strings.IndexByte(letters+"_-", part[len(part)-1]) >= 0) {
			return "needs a separator between two placeholders that starts and ends with something else than letters, digits, _ and -, such as a full stop or a colon"
		}
	}
	return ""
}
