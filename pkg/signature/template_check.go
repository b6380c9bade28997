package signature

import (
	"errors"
	"fmt"
	"strings"
)

// Validate returns everything that is wrong with the template at once, in words.
// It wants a content that can be taken apart in one way only: with an empty text
// between {id} and {body}, a part of the body could be passed off as the id.
func (t Template) Validate() error {
	var problems []error
	add := func(field, format string, args ...any) {
		problems = append(problems, fmt.Errorf("template.%s "+format, append([]any{field}, args...)...))
	}
	for _, header := range t.headers() {
		if err := checkHeaderName(header.value); err != nil {
			add(header.field, "%w", err)
		}
	}
	if t.Algorithm != "" && t.Algorithm != AlgorithmSHA256 && t.Algorithm != AlgorithmSHA512 {
		add("algorithm", "is not a choice; choose %s or %s", AlgorithmSHA256, AlgorithmSHA512)
	}
	if t.Encoding != "" && t.Encoding != EncodingHex && t.Encoding != EncodingBase64 {
		add("encoding", "is not a choice; choose %s or %s", EncodingHex, EncodingBase64)
	}
	if err := checkContent(t.Content); err != nil {
		add("content", "%w", err)
	}
	if err := checkPrefix(t.Prefix); err != nil {
		add("prefix", "%w", err)
	}
	if err := checkSeparator(t); err != nil {
		add("separator", "%w", err)
	}
	return errors.Join(append(problems, t.clash())...)
}

// named is a header field of the template with the name of its setting.
type named struct {
	field, value string
}

func (t Template) headers() []named {
	d := t.withDefaults()
	return []named{{"header", t.Header}, {"id_header", d.IDHeader}, {"timestamp_header", d.TimestampHeader}}
}

// clash refuses one field for two purposes.
func (t Template) clash() error {
	all := t.headers()
	for i, header := range all {
		for _, other := range all[:i] {
			if strings.EqualFold(header.value, other.value) {
				return fmt.Errorf("template.%s is the same header field as template.%s; give each its own", header.field, other.field)
			}
		}
	}
	return nil
}

func checkHeaderName(name string) error {
	switch {
	case name == "":
		return errors.New("is empty: write the name of a header field, such as X-Acme-Signature")
	case len(name) > maxHeaderName:
		return fmt.Errorf("is %d characters long; at most %d are accepted", len(name), maxHeaderName)
	case strings.Trim(name, lower+upper+digits+punctuation) != "":
		return errors.New("has a character that the name of a header field cannot have; use letters, digits and '-'")
	case reservedHeader(strings.ToLower(name)):
		return errors.New("is a header field that has another meaning; choose one of your own, such as X-Acme-Signature")
	}
	return nil
}

// reservedHeader names the fields that HTTP, the trace, another scheme or we ourselves set.
func reservedHeader(name string) bool {
	switch name {
	case "accept-encoding", "authorization", "connection", "content-encoding", "content-length", "content-type", HeaderDigest,
		"cookie", "date", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "user-agent",
		"traceparent", "tracestate", HeaderSignature, HeaderMessageSignature, HeaderMessageInput,
		headerDocuSignDigest, headerPagerDuty, headerGitHub, headerShopify, headerStripe, headerSlack, headerSlackTime, headerTwilio:
		return true
	}
	for _, prefix := range []string{"handfast-", "nats-", "proxy-", "sec-", "ce-", "access-control-", headerDocuSign} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func checkTemplateText(text string) error {
	if len(text) > maxTemplateText {
		return fmt.Errorf("is %d characters long; at most %d are accepted", len(text), maxTemplateText)
	}
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return errors.New("has a character that is not visible ASCII")
		}
	}
	return nil
}

// checkPrefix refuses a space in front as well, which a header loses on the way.
func checkPrefix(prefix string) error {
	if strings.HasPrefix(prefix, " ") {
		return errors.New("starts with a space, which does not survive in a header field")
	}
	return checkTemplateText(prefix)
}

// checkSeparator wants a separator that cannot stand in a signature, nor in the
// prefix, so that the list comes apart where it was joined.
func checkSeparator(t Template) error {
	if err := checkTemplateText(t.Separator); err != nil || t.Separator == "" {
		return err
	}
	if strings.Trim(t.Separator, lower+upper+digits+"+/=") == "" {
		return errors.New("consists of characters that a signature can have; use a comma, a space or the like")
	}
	if strings.Contains(t.Prefix, t.Separator) {
		return errors.New("stands in the prefix as well, so that the list could not be taken apart; choose another")
	}
	return nil
}

func checkContent(content string) error {
	if len(content) > maxContent {
		return fmt.Errorf("is %d characters long; at most %d are accepted", len(content), maxContent)
	}
	for _, place := range []string{placeID, placeTimestamp, placeBody} {
		if strings.Count(content, place) > 1 {
			return fmt.Errorf("has %s more than once; once is enough", place)
		}
	}
	if !strings.Contains(content, placeBody) {
		return fmt.Errorf("has no %s, so that the body would not be signed; write for example {id}.{timestamp}.{body}", placeBody)
	}
	if strings.ContainsFunc(content, func(c rune) bool { return c < ' ' || c > '~' }) {
		return errors.New("has a character that is not visible ASCII")
	}
	const place = "\x00" // stands in no content, as was just seen
	rest := content
	for _, name := range []string{placeID, placeTimestamp, placeBody} {
		rest = strings.Replace(rest, name, place, 1)
	}
	if strings.ContainsAny(rest, "{}") {
		return errors.New("has a brace that belongs to none of {id}, {timestamp} and {body}")
	}
	// What is left between the placeholders has to keep them apart.
	parts := strings.Split(rest, place)
	for _, between := range parts[1 : len(parts)-1] {
		if between == "" || strings.IndexByte(idCharacters, between[0]) >= 0 || strings.IndexByte(idCharacters, between[len(between)-1]) >= 0 {
			return errors.New("needs a separator between two placeholders that starts and ends with something else than letters, digits, '_' and '-', such as a full stop or a colon")
		}
	}
	return nil
}
