package endpoint

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

const (
	nameRule     = "use 1 to 63 lower-case letters, digits or hyphens, with a letter or digit at both ends"
	waitRule     = "write a duration with its unit, such as 5s, 5m or 1h30m, from 1s to 48h"
	rootsRule    = `write "system", PEM text with CERTIFICATE blocks, or a list of PEM texts`
	headerRule   = "write the name of a header field of your own, such as X-Acme-Signature"
	schemeNames  = "v1, v1a, rfc9421-ed25519, rfc9421-ecdsa-p256-sha256, rfc9421-hmac-sha256, docusign, pagerduty, github, stripe, slack, shopify, twilio and template"
	instantRule  = "write a date and a time with their zone, such as 2027-01-31T12:00:00Z"
	scheduleRule = `write "standard" or a list of waits such as ["5s", "5m", "1h"]`
)

// rule says what a field must be, as an instruction.
func rule(field string) string {
	if strings.HasPrefix(field, retiringPath+".") {
		return instantRule
	}
	switch field {
	case "tenant", "name", "tls.identity":
		return nameRule
	case "url":
		return "write the https address that receives the requests"
	case "filter.types[]":
		return "write an event type such as com.acme.order.created, or a pattern such as com.acme.order.*"
	case "filter.cesql":
		return "write a CESQL expression, or remove it"
	case "signature.template.header", "signature.template.id_header", "signature.template.timestamp_header":
		return headerRule
	case "signature.template.content":
		return "write what is signed, such as {id}.{timestamp}.{body}"
	case "signature.template.prefix":
		return "use visible ASCII characters, such as sha256=, with no space in front"
	case "signature.template.separator":
		return "use visible ASCII characters, such as a comma"
	case "tls.trust.roots", "tls.trust.roots[]":
		return rootsRule
	case "tls.trust.pins[]":
		return "write sha256/ and then the base64 of the SHA-256 of the public key (44 characters ending in =)"
	case "tls.server_name":
		return "write a DNS name or an IP address, or remove it to use the host of url"
	case "retry.schedule":
		return scheduleRule
	case "retry.schedule[]":
		return waitRule
	case "activation.kind":
		return "write cloudevents or adobe-sign"
	case "activation.origin":
		return "write the DNS name by which the receiver knows you, such as webhooks.acme.example"
	case "activation.rate":
		return "use a whole number of requests per minute, from 1 to 1000000"
	case "activation.client_id":
		return "write the client id that the receiver expects, 1 to 256 visible ASCII characters"
	case "limits.concurrency":
		return "use a whole number from 1 to 256"
	case "limits.timeout":
		return "write a duration with its unit, from 1s to 60s"
	default:
		if strings.HasPrefix(field, pinPath) {
			return pinRule
		}
		return ""
	}
}

// ownPattern names the fields whose patterns guide editors only: the next pass
// finds the same and says precisely what is wrong.
func ownPattern(field string) bool {
	return field == "url" || field == "tls.trust.roots" || field == "tls.trust.roots[]" || strings.HasPrefix(field, pinPath)
}

// wrongType says what stands there and what should.
func wrongType(field string, value any, k *kind.Type) string {
	wanted := make([]string, 0, len(k.Want))
	for _, each := range k.Want {
		wanted = append(wanted, typeWord(each))
	}
	if field == "" {
		return "must be a mapping with tenant, name and url, not " + typeWord(k.Got)
	}
	_, fraction := value.(float64)
	if fraction && k.Want[0] == "integer" {
		return fmt.Sprintf("must be a whole number, not %v", value)
	}
	text := fmt.Sprintf("must be %s, not %s", strings.Join(wanted, " or "), typeWord(k.Got))
	simple := k.Got == "number" || k.Got == "integer" || k.Got == "boolean"
	switch {
	case field == "limits.timeout" || field == "retry.schedule[]":
		return text + ": " + rule(field)
	case k.Want[0] == "string" && simple:
		return text + ": put it in quotes"
	case k.Want[0] == "boolean" && k.Got == "string":
		return text + ": write it without quotes (yes, no, on and off are text)"
	case k.Want[0] == "integer" && k.Got == "string":
		return text + ": write the number without quotes"
	default:
		return text
	}
}

func typeWord(name string) string {
	switch name {
	case "string":
		return "text"
	case "integer":
		return "a whole number"
	case "number":
		return "a number"
	case "boolean":
		return "true or false"
	case "object":
		return "a mapping"
	case "array":
		return "a list"
	default:
		return "null"
	}
}

// notAChoice answers a value outside a closed list.
func notAChoice(field string, value any) string {
	text, _ := value.(string)
	switch {
	case field == "signature.schemes[]" && text == "rfc9421":
		return quote(text) + " is three schemes; choose rfc9421-ed25519, rfc9421-ecdsa-p256-sha256 or rfc9421-hmac-sha256"
	case field == "signature.schemes[]" && text == "meta":
		return quote(text) + " is not a signature scheme; Meta's platforms verify github's"
	case field == "signature.schemes[]":
		return quote(text) + " is not a signature scheme; choose from " + schemeNames
	case field == algorithmsPath+"[]":
		return quote(text) + " is not an algorithm; choose from " + algorithmNames
	case field == "signature.template.algorithm":
		return quote(text) + " is not a choice; choose hmac-sha256 or hmac-sha512"
	case field == "signature.template.encoding":
		return quote(text) + " is not a choice; choose hex or base64"
	case field == "activation.kind":
		return quote(text) + " is not a choice; choose cloudevents or adobe-sign"
	case field == "tls.mutual":
		return quote(text) + " is not a choice; choose required or requested"
	case field == "tls.min_version":
		return quote(text) + ` is not a choice; choose "1.2" or "1.3", in quotes`
	case field == "tls.trust.revocation":
		return quote(text) + " is not a choice; choose off, soft or hard"
	default:
		return quote(text) + " is not a choice"
	}
}

// notYet answers the switch that only accepts false today: ordered.
func notYet() string {
	return "true is not available yet: ordered delivery comes with a later release; leave it false, and sort by the event's time or id at the receiver"
}

func fewItems(field string, got int) string {
	switch field {
	case "filter.types":
		return "is an empty list: remove it to receive every event of the tenant, or name at least one type"
	case "signature.schemes":
		return "is an empty list: name at least one scheme, or remove it for v1 and v1a"
	case algorithmsPath:
		return "is an empty list: name every algorithm that may sign, or remove it for all that are not weak"
	case "tls.trust.pins":
		return fmt.Sprintf("has %d of at least 2 pins: the second is the backup for the day when the first key is lost", got)
	default:
		return "is an empty list: " + cmp.Or(rule(field), "remove it or fill it")
	}
}
