package endpoint

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBadURL(t *testing.T) {
	for _, bad := range []badDocument{
		{"all at once", withURL("http://bob:secret@h.example:0/#frag"), []string{
			"url: must begin with https://, because a message leaves only over TLS",
			"url: must not hold a fragment (#…): it would never reach the receiver",
			"url: must not hold a user name or password: the receiver knows us by our certificate and signatures",
			`url: the port "0" is not valid: use a number from 1 to 65535`,
		}},
		{"no host", withURL("https:///x"), []string{"url: has no host: write it as https://host/path"}},
		{"opaque", withURL("https:h.example"), []string{"url: has no host: write it as https://host/path"}},
		{"empty fragment", withURL("'https://h.example/#'"), []string{"url: must not hold a fragment (#…): it would never reach the receiver"}},
		{"space", withURL("'https://h.example/a b'"), []string{"url: contains a space or a control character: percent-encode it"}},
		{"bad escape", withURL("https://h.example/%zz"), []string{"url: is not a valid URL: a % must be followed by two hexadecimal digits"}},
		{"secret in a broken URL", withURL("https://bob:pa/ss@h.example/"), []string{"url: is not a valid URL: check the host, the port and the brackets of an IPv6 address"}},
		{"port too high", withURL("https://h.example:65536/"), []string{`url: the port "65536" is not valid: use a number from 1 to 65535`}},
		{"no port", withURL("https://h.example:/"), []string{"url: has a colon but no port after the host: remove the colon, or write the port"}},
		{"too long", withURL("https://h.example/" + strings.Repeat("a", 2031)), []string{"url: is 2049 characters long; at most 2048 are accepted"}},
		{"short IPv4", withURL("https://127.1/"), []string{`url: the host "127.1" looks like a number, not a name: write an IPv4 address as four decimal numbers`}},
		{"hexadecimal IPv4", withURL("https://0x7f000001/"), []string{`url: the host "0x7f000001" looks like a number, not a name: write an IPv4 address as four decimal numbers`}},
		{"full-width digits", withURL("https://１２７.0.0.1/"), []string{`url: the host "１２７.0.0.1" looks like a number, not a name: write an IPv4 address as four decimal numbers`}},
		{"final dot", withURL("https://h.example./"), []string{`url: the host "h.example." ends with a dot: remove it`}},
		{"underscore", withURL("https://a_b.example/"), []string{`url: the host "a_b.example" contains an underscore, which no certificate can name: use a hyphen`}},
		{"hyphen at the edge", withURL("https://-a.example/"), []string{`url: the host "-a.example" is not a valid DNS name`}},
		{"zone", withURL("https://[fe80::1%25eth0]/"), []string{`url: the host "fe80::1%eth0" holds an IPv6 zone, which means something only on one machine: remove it`}},
		{"not IPv6", withURL("https://[1::2::3]/"), []string{"url: is not a valid URL: check the host, the port and the brackets of an IPv6 address"}},
		{"server name in brackets", base + "tls: {server_name: '[::1]'}\n", []string{`tls.server_name: "[::1]" is not a valid IPv6 address`}},
		{"server name", base + "tls: {server_name: '*.example.com'}\n", []string{`tls.server_name: "*.example.com" holds a wildcard: write one name`}},
	} {
		t.Run(bad.name, bad.check)
	}
}

func TestBadFilter(t *testing.T) {
	types := `filter: {types: ["ord*", "a.>", "a.**.b", "a..b", "a b", "a.b", "a.b", 5, "", "a>"]}`
	cesql := func(expression string) string { return base + "filter:\n  cesql: |-\n    " + expression + "\n" }
	for _, bad := range []badDocument{
		{"patterns", base + types, []string{
			`filter.types[0]: "ord*" has a * inside the token "ord*": * stands for one whole token, so write out the token or use * alone`,
			`filter.types[1]: "a.>" uses > as in a NATS subject: write ** at the end for one or more tokens`,
			`filter.types[2]: "a.**.b" has ** before its end: ** stands only at the end; use * for each single token`,
			`filter.types[3]: "a..b" has an empty token: remove the dot at an end, or one of two dots that follow each other`,
			`filter.types[4]: "a b" contains a space or a character outside printable ASCII, which no event type has`,
			`filter.types[6]: repeats filter.types[5]: remove one of them`,
			`filter.types[7]: must be text, not a number: put it in quotes`,
			`filter.types[8]: is empty: write an event type such as com.acme.order.created, or a pattern such as com.acme.order.*`,
			`filter.types[9]: "a>" contains >, which no event type has`,
		}},
		{"half", cesql("amount > 100 AND"), []string{"filter.cesql: is not valid CESQL: it ends too early"}},
		{"stray character", cesql("type = 't' @"), []string{"filter.cesql: is not valid CESQL at character 12: there is a character that has no meaning here, or a quote that is not closed"}},
		{"stray word", cesql("type = 't' type"), []string{`filter.cesql: is not valid CESQL at character 12: "type" does not belong here`}},
		{"empty set", cesql("type IN ()"), []string{`filter.cesql: is not valid CESQL at character 10: ")" does not belong here`}},
		{"unknown function", cesql("FOO(1) = 1"), []string{"filter.cesql: is not valid CESQL: there is no function FOO that takes this number of arguments (1)"}},
		{"wrong arguments", cesql("TRUE AND ABS(1, 2) = 1"), []string{"filter.cesql: is not valid CESQL: there is no function ABS that takes this number of arguments (2)"}},
		{"integer", cesql("amount > 99999999999"), []string{"filter.cesql: is not valid CESQL: an integer must lie between -2147483648 and 2147483647"}},
		{"parentheses", cesql(strings.Repeat("(", 65)), []string{"filter.cesql: has 65 opening parentheses; at most 64 are accepted"}},
	} {
		t.Run(bad.name, bad.check)
	}
}

func withTrust(t *testing.T, trust map[string]any) string {
	t.Helper()
	document, err := json.Marshal(map[string]any{"tenant": "acme", "name": "orders", "url": "https://h.example/", "tls": map[string]any{"trust": trust}})
	require.NoError(t, err)
	return string(document)
}

func TestBadTrust(t *testing.T) {
	soon := time.Now().Add(time.Hour)
	good := root(t, "Good")
	leaf := certificate(t, "Leaf", false, x509.KeyUsageDigitalSignature, soon)
	mute := certificate(t, "Mute", true, x509.KeyUsageDigitalSignature, soon)
	key := strings.ReplaceAll(good, "CERTIFICATE", "PRIVATE KEY")
	request := strings.ReplaceAll(good, "CERTIFICATE", "CERTIFICATE REQUEST")
	garbage := "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	twin := strings.Replace(pinA, "FU=", "FV=", 1)
	pinRule := rule("tls.trust.pins[]")
	for _, bad := range []badDocument{
		{"word", withTrust(t, map[string]any{"roots": "none"}), []string{"tls.trust.roots: is not PEM text: " + rootsRule}},
		{"system in a list", withTrust(t, map[string]any{"roots": []any{"system", "x"}}), []string{
			`tls.trust.roots[0]: "system" cannot stand in a list: write roots: system, or list PEM texts only`,
			"tls.trust.roots[1]: is not PEM text: " + rootsRule,
		}},
		{"bundle", withTrust(t, map[string]any{"roots": good + leaf + mute + key + request}), []string{
			"tls.trust.roots: block 4 is a private key: remove it, no document ever needs one, and replace that key if others could read it",
			`tls.trust.roots: block 5 is "CERTIFICATE REQUEST"; only CERTIFICATE blocks are accepted`,
			`tls.trust.roots: certificate 2 ("CN=Leaf") is not a CA: give the root that issued it`,
			`tls.trust.roots: certificate 3 ("CN=Mute") is a CA that may not sign certificates (key usage): give the right root`,
		}},
		{"garbage", withTrust(t, map[string]any{"roots": []any{garbage}}), []string{"tls.trust.roots[0]: block 1 is not a readable certificate: malformed certificate"}},
		{"cut off", withTrust(t, map[string]any{"roots": good + good[:100]}), []string{"tls.trust.roots: holds a PEM block that is damaged or cut off: copy the certificates again"}},
		{"same root twice", withTrust(t, map[string]any{"roots": []any{good, good}}), []string{"tls.trust.roots[1]: repeats tls.trust.roots[0]: remove one of them"}},
		{"one pin", withTrust(t, map[string]any{"pins": []any{"sha256/abc"}}), []string{
			"tls.trust.pins: has 1 of at least 2 pins: the second is the backup for the day when the first key is lost",
			`tls.trust.pins[0]: "sha256/abc" is not allowed: ` + pinRule,
		}},
		{"two spellings of one pin", withTrust(t, map[string]any{"pins": []any{pinA, twin, pinA}}), []string{
			fmt.Sprintf("tls.trust.pins[1]: %q is not allowed: %s", twin, pinRule),
			"tls.trust.pins[2]: repeats tls.trust.pins[0]: remove one of them",
		}},
	} {
		t.Run(bad.name, bad.check)
	}
}

func TestExpiredRootIsRefusedByParseOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(time.Hour) // the bubble begins at 2000-01-01 00:00 UTC
		document := withTrust(t, map[string]any{"roots": certificate(t, "Old", true, x509.KeyUsageCertSign, end)})
		first, err := Parse([]byte(document))
		require.NoError(t, err)

		<-time.After(time.Hour + time.Second) // virtual time
		badDocument{document: document, problems: []string{
			`tls.trust.roots: certificate 1 ("CN=Old") expired on 2000-01-01 01:00 UTC: remove it or give its successor`,
		}}.check(t)

		stored, err := first.MarshalJSON()
		require.NoError(t, err)
		restored, err := Restore(stored)
		require.NoError(t, err)
		assert.Equal(t, first, restored)
		_, err = Restore([]byte(strings.Replace(document, "acme", "ACME", 1)))
		require.Error(t, err, "every other rule holds for Restore too")
	})
}
