package receiver

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/url"
	"strings"
)

// maxChain bounds how many certificates a terminator may tell, the client's own included.
const maxChain = 10

var (
	errTold  = errors.New("the header that tells the client certificate is not in the form that this receiver expects")
	errChain = errors.New("the proxy tells too many certificates")
)

// maxRSA is the largest RSA modulus, in bits, that is computed with; crypto/tls has the same bound. Nobody has vouched for
// these keys yet, and the work grows with the square of their size.
const maxRSA = 8192

func oversized(c *x509.Certificate) bool {
	key, ok := c.PublicKey.(*rsa.PublicKey)
	return ok && key.N.BitLen() > maxRSA
}

// parse returns the certificates of the header, the client's own first.
func (t *terminator) parse(value, chain string) ([]*x509.Certificate, error) {
	switch t.Form {
	case RFC9440:
		return parseRFC9440(value, chain)
	case Envoy:
		return parseEnvoy(value)
	case AmazonALB, AmazonALBLeaf, EscapedPEM:
		return parseEscaped(value)
	}
	return nil, errTold
}

// parseRFC9440 reads byte sequences of RFC 9651 without parameters, as RFC 9440, sections 2.2 and 2.3, writes them.
func parseRFC9440(value, chain string) ([]*x509.Certificate, error) {
	sequences := []string{value}
	if chain != "" {
		if strings.Count(chain, ",")+2 > maxChain {
			return nil, errChain
		}
		sequences = append(sequences, strings.Split(chain, ",")...)
	}
	certs := make([]*x509.Certificate, 0, len(sequences))
	for i, text := range sequences {
		if i > 0 {
			text = strings.Trim(text, " \t")
		}
		if len(text) < 2 || text[0] != ':' || text[len(text)-1] != ':' {
			return nil, errTold
		}
		der, err := base64.StdEncoding.Strict().DecodeString(text[1 : len(text)-1])
		if err != nil {
			return nil, errTold
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, errTold
		}
		certs = append(certs, cert)
	}
	return certs, nil
}

// parseEscaped reads PEM in URL encoding. A plus sign stays one: Amazon does not escape it, and it belongs to base64.
func parseEscaped(value string) ([]*x509.Certificate, error) {
	text, err := url.PathUnescape(value)
	if err != nil {
		return nil, errTold
	}
	var certs []*x509.Certificate
	rest := strings.TrimSpace(text)
	for rest != "" {
		if len(certs) == maxChain {
			return nil, errChain
		}
		// pem.Decode would skip words in between, where another reader might see something.
		if !strings.HasPrefix(rest, "-----BEGIN CERTIFICATE-----") {
			return nil, errTold
		}
		block, after := pem.Decode([]byte(rest))
		if block == nil || block.Type != "CERTIFICATE" || len(block.Headers) > 0 {
			return nil, errTold
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errTold
		}
		certs = append(certs, cert)
		rest = strings.TrimSpace(string(after))
	}
	if len(certs) == 0 {
		return nil, errTold
	}
	return certs, nil
}

// parseEnvoy reads the one element of x-forwarded-client-cert. A second one would come from a proxy further out, or from
// the client.
func parseEnvoy(value string) ([]*x509.Certificate, error) {
	pairs, err := envoyPairs(value)
	if err != nil {
		return nil, err
	}
	told := pairs["chain"]
	if told == "" {
		told = pairs["cert"]
	}
	if told == "" {
		return nil, errors.New("x-forwarded-client-cert has neither Cert nor Chain, so there is nothing to verify; let Envoy add one (set_current_client_cert_details)")
	}
	return parseEscaped(told)
}

// envoyPairs splits key=value pairs at semicolons outside of quotes, in which a backslash escapes the next character.
// Only URI and DNS may occur more than once; they are not used.
func envoyPairs(value string) (map[string]string, error) {
	pairs := map[string]string{}
	for value != "" {
		key, rest, ok := strings.Cut(value, "=")
		if !ok || strings.ContainsAny(key, `,;" `) || key == "" {
			return nil, errTold
		}
		text, after, err := envoyValue(rest)
		if err != nil {
			return nil, err
		}
		key = strings.ToLower(key)
		if _, doubled := pairs[key]; doubled && key != "uri" && key != "dns" {
			return nil, errTold
		}
		pairs[key], value = text, after
	}
	return pairs, nil
}

func envoyValue(text string) (value, rest string, err error) {
	if !strings.HasPrefix(text, `"`) {
		end := strings.IndexAny(text, `,;"`)
		switch {
		case end < 0:
			return text, "", nil
		case text[end] != ';':
			return "", "", errTold
		}
		return text[:end], text[end+1:], nil
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
			if i == len(text) {
				return "", "", errTold
			}
			b.WriteByte(text[i])
		case '"':
			rest = text[i+1:]
			if rest != "" && rest[0] != ';' {
				return "", "", errTold
			}
			return b.String(), strings.TrimPrefix(rest, ";"), nil
		default:
			b.WriteByte(text[i])
		}
	}
	return "", "", errTold
}
