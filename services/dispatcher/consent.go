package dispatcher

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/mtls"
)

// Header fields of the handshakes, spelt as their specifications spell them.
const (
	originHeader        = "WebHook-Request-Origin"
	rateHeader          = "WebHook-Request-Rate"
	allowedOriginHeader = "WebHook-Allowed-Origin"
	allowedRateHeader   = "WebHook-Allowed-Rate"
	clientIDHeader      = "X-AdobeSign-ClientId"
	clientIDField       = "xAdobeSignClientId"
)

// question is how a receiver is asked for its consent: HTTP 1.1 Web Hooks for Event Delivery 1.0.2, section 4.1; Adobe
// Acrobat Sign, verification of intent.
func question(a endpoint.Activation) (method string, header http.Header) {
	if a.Kind == endpoint.AdobeSignActivation {
		return http.MethodGet, http.Header{clientIDHeader: {a.ClientID}}
	}
	header = http.Header{originHeader: {a.Origin}}
	if a.Rate > 0 {
		header[rateHeader] = []string{strconv.Itoa(a.Rate)}
	}
	return http.MethodOptions, header
}

// marked is the header of a message with what the activation demands in every request. The same field cannot come from
// anywhere else: two of them would leave it to the receiver which one counts.
func marked(header http.Header, a endpoint.Activation) http.Header {
	name, value := originHeader, a.Origin
	switch a.Kind {
	case endpoint.NoActivation:
		return header
	case endpoint.AdobeSignActivation:
		name, value = clientIDHeader, a.ClientID
	case endpoint.CloudEventsActivation:
	}
	out := maps.Clone(header)
	maps.DeleteFunc(out, func(other string, _ []string) bool { return strings.EqualFold(other, name) })
	out[name] = []string{value}
	return out
}

// consent judges the answer to the question. The refusal is nil when the receiver has agreed.
func consent(to endpoint.Registered, response *mtls.Response, now time.Time) (endpoint.Activated, *delivery.Verdict) {
	given := endpoint.Activated{Mark: to.ActivationMark(), Since: now.UTC()}
	if before := to.Status.Disabled; before != nil && !given.Since.After(before.At) {
		given.Since = before.At.Add(1) // by the clock of another dispatcher; it was before the question in any case
	}
	refusal := delivery.Verdict{Outcome: delivery.NotActivated, Origin: delivery.Said, Status: response.Status}
	refusal.Detail = fmt.Sprintf("%s answered HTTP %d", to.Authority(), response.Status)
	if response.Status < 200 || response.Status > 299 {
		// Consent stands in the header alone, but one beside an error is none: the receiver contradicts itself.
		method, _ := question(to.Activation)
		refusal.Detail += " to " + method + ", with which it was asked for its consent"
		refusal.Advice = advice(to)
		return given, &refusal
	}
	var reason string
	if to.Activation.Kind == endpoint.AdobeSignActivation {
		given.Said, reason = echo(to.Activation.ClientID, response)
	} else {
		given.Said, given.Rate, reason = permission(to.Activation, response.Header)
	}
	if reason != "" {
		refusal.Detail += reason
		refusal.Advice = advice(to)
		return given, &refusal
	}
	given.Said = fmt.Sprintf("HTTP %d, %s", response.Status, given.Said)
	return given, nil
}

func advice(to endpoint.Registered) string {
	again := "; it is asked again now and then, and at once by `handfast endpoint activate " + to.Key().String() + "`"
	if to.Activation.Kind == endpoint.AdobeSignActivation {
		return "Let the receiver answer GET with a 2xx status that echoes client id " + to.Activation.ClientID + " in " + clientIDHeader + again
	}
	return "Let the receiver answer OPTIONS with " + allowedOriginHeader + ": " + to.Activation.Origin + " (or *) and " + allowedRateHeader +
		"; a callback is not offered to it" + again
}

// permission reads section 4.2 of the web hook specification: what the receiver said and how many requests per minute it
// allows, or the reason why that is no permission.
func permission(a endpoint.Activation, header http.Header) (said string, rate int, reason string) {
	origins, rates := header.Values(allowedOriginHeader), header.Values(allowedRateHeader)
	switch {
	case len(origins) == 0:
		return "", 0, " without " + allowedOriginHeader + ", which is no permission, whatever the status"
	case len(origins) > 1:
		return "", 0, fmt.Sprintf(" with %d fields %s; one decides", len(origins), allowedOriginHeader)
	}
	origin := strings.TrimSpace(origins[0])
	if origin != "*" && !strings.EqualFold(origin, a.Origin) {
		return "", 0, fmt.Sprintf(" and allows %s, not our origin %s", short(origin), a.Origin)
	}
	said = allowedOriginHeader + ": " + origin
	switch {
	case len(rates) == 0 && a.Rate == 0:
		return said, 0, ""
	case len(rates) == 0: // it should have said so; more than we asked for is not allowed by silence
		return said + ", and no rate: that which was asked for is kept", a.Rate, ""
	case len(rates) > 1:
		return "", 0, fmt.Sprintf(" with %d fields %s; one decides", len(rates), allowedRateHeader)
	}
	text := strings.TrimSpace(rates[0])
	if text == "*" {
		return said + ", " + allowedRateHeader + ": *", 0, ""
	}
	allowed, err := strconv.ParseUint(text, 10, 31)
	if err != nil || allowed == 0 {
		return "", 0, fmt.Sprintf(" with %s: %s, which is neither a number of requests per minute nor *", allowedRateHeader, short(text))
	}
	return said + ", " + allowedRateHeader + ": " + text, int(allowed), ""
}

// echo looks for our client id in an answer: in the header field, or in the JSON of the body, of which the pool has kept a
// bounded part.
func echo(id string, response *mtls.Response) (said, reason string) {
	inHeader := response.Header.Values(clientIDHeader)
	for _, value := range inHeader {
		if strings.TrimSpace(value) == id {
			return clientIDHeader + ": " + id, ""
		}
	}
	inBody, found := member(response.Body, clientIDField)
	switch {
	case found && inBody == id:
		return `"` + clientIDField + `": "` + id + `"`, ""
	case len(inHeader) > 0:
		return "", " but echoed client id " + short(inHeader[0]) + ", not ours"
	case found:
		return "", " but echoed client id " + short(inBody) + ", not ours"
	}
	return "", " without an echo of our client id, neither in " + clientIDHeader + " nor as " + clientIDField + " in the first 4 KiB of a JSON body"
}

// member finds a text member of a JSON object whose end may be missing. Of two of one name none counts: readers differ in
// which one they take.
func member(body []byte, name string) (value string, found bool) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	if open, err := decoder.Token(); err != nil || open != json.Delim('{') {
		return "", false
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return value, found
		}
		var raw json.RawMessage
		if err := decoder.Decode(&raw); err != nil {
			return value, found
		}
		if key != name {
			continue
		}
		if found || json.Unmarshal(raw, &value) != nil {
			return "", false
		}
		found = true
	}
	return value, found
}

// short quotes what a receiver wrote.
func short(text string) string {
	if runes := []rune(text); len(runes) > 60 {
		text = string(runes[:60]) + "…"
	}
	return strconv.Quote(text)
}

// acknowledge takes an answer for a delivery only with the echo that the activation demands.
func acknowledge(to endpoint.Registered, response *mtls.Response, v *delivery.Verdict) {
	if v.Outcome != delivery.Delivered || to.Activation.Kind != endpoint.AdobeSignActivation {
		return
	}
	if _, reason := echo(to.Activation.ClientID, response); reason != "" {
		v.Outcome = delivery.NotAcknowledged
		v.Detail = fmt.Sprintf("%s answered HTTP %d%s", to.Authority(), response.Status, reason)
		v.Advice = "Let the receiver echo client id " + to.Activation.ClientID + " in " + clientIDHeader + " of every answer; without it the delivery counts as failed and is repeated"
	}
}
