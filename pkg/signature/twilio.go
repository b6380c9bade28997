package signature

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"net/url"
	"slices"
	"strings"
)

const (
	headerTwilio = "x-twilio-signature"
	// twilioDigest is the query parameter that carries the body's digest.
	twilioDigest = "bodySHA256"
	// maxFormFields bounds a form that is signed field by field.
	maxFormFields = 1000
)

// twilio signs the URL. The fields of a form follow it; any other body enters by
// a digest in the query, so that the request goes to a longer URL: see [Query].
type twilio struct{}

func (twilio) Name() string { return Twilio }

// Query asks for the digest of the body.
func (twilio) Query(r Request) (string, error) {
	u, err := requestURL(r)
	if err != nil {
		return "", fmt.Errorf("scheme %s: %w: %w", Twilio, ErrInvalidRequest, err)
	}
	if isForm(r.Header) {
		return "", nil
	}
	if u.Query().Has(twilioDigest) {
		return "", fmt.Errorf("scheme %s: %w: its URL has a query parameter %s already, which this scheme adds; remove it from the endpoint's url", Twilio, ErrInvalidRequest, twilioDigest)
	}
	sum := sha256.Sum256(r.Body)
	return twilioDigest + "=" + hex.EncodeToString(sum[:]), nil
}

// Sign wants r.URL to be the longer one already, so that a sender that does not
// know of it signs nothing instead of something that no receiver verifies.
func (twilio) Sign(r Request, keys []Key) ([]Field, error) {
	u, err := requestURL(r)
	if err != nil {
		return nil, fmt.Errorf("scheme %s: %w: %w", Twilio, ErrInvalidRequest, err)
	}
	target := u.RequestURI()
	content := u.Scheme + "://" + u.Host + target
	if isForm(r.Header) {
		fields, err := formContent(r.Body)
		if err != nil {
			return nil, fmt.Errorf("scheme %s: %w: %w", Twilio, ErrInvalidRequest, err)
		}
		content += fields
	} else if checkBodyDigest(target, r.Body) != nil {
		return nil, fmt.Errorf("scheme %s: %w: its URL does not carry the body's digest as %s; append what Query returns, and send the request there", Twilio, ErrInvalidRequest, twilioDigest)
	}
	value, err := signOne(Twilio, keys, []byte(content), nil, base64Text())
	if err != nil {
		return nil, err
	}
	return []Field{{Name: headerTwilio, Value: value}}, nil
}

func isForm(headers Getter) bool {
	if headers == nil {
		return false
	}
	kind, _, err := mime.ParseMediaType(headers.Get("content-type"))
	return err == nil && kind == "application/x-www-form-urlencoded"
}

// formContent is every field as name and value, in the order of the names.
// Twilio's libraries disagree about a name that occurs twice, so that it cannot
// be signed in a way that all of them verify.
func formContent(body []byte) (string, error) {
	if n := strings.Count(string(body), "&") + 1; n > maxFormFields {
		return "", fmt.Errorf("its form has %d fields; at most %d are signed", n, maxFormFields)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return "", errors.New("its body is not a form, although its content type says so")
	}
	names := make([]string, 0, len(form))
	for name, values := range form {
		if len(values) > 1 {
			return "", errors.New("its form has a field twice, which Twilio's libraries do not agree on how to sign")
		}
		names = append(names, name)
	}
	slices.Sort(names)
	var content strings.Builder
	for _, name := range names {
		content.WriteString(name + form.Get(name))
	}
	return content.String(), nil
}

// checkBodyDigest wants the target's only bodySHA256 to be that of the body.
func checkBodyDigest(target string, body []byte) error {
	_, query, _ := strings.Cut(target, "?")
	values, err := url.ParseQuery(query)
	given := values[twilioDigest]
	if err != nil || len(given) != 1 {
		return fmt.Errorf("%w: the query has no %s, or two; was the query changed on the way?", ErrMissingHeader, twilioDigest)
	}
	sum := sha256.Sum256(body)
	raw, err := hex.DecodeString(given[0])
	if err != nil || subtle.ConstantTimeCompare(raw, sum[:]) != 1 {
		return fmt.Errorf("%w: %s is not the digest of the body, which was changed on the way (verify the bytes as received, before any parser)", ErrNoMatch, twilioDigest)
	}
	return nil
}

// verifyTwilio tries the URL with and without its port, as Twilio's libraries do.
func verifyTwilio(r Received, keys []Verifier, _ window) (Verified, error) {
	value, err := one(r.Header, headerTwilio)
	if err != nil {
		return Verified{}, err
	}
	if _, err := atMostOne(r.Header, "content-type"); err != nil {
		return Verified{}, err
	}
	var fields string
	if isForm(r.Header) {
		if fields, err = formContent(r.Body); err != nil {
			return Verified{}, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
	} else if err := checkBodyDigest(r.Target, r.Body); err != nil {
		return Verified{}, err
	}
	made := listed(value, "\n", "", base64Text())
	host, port := r.Authority, ":443"
	if at := strings.LastIndexByte(host, ':'); at >= 0 && strings.Trim(host[at+1:], digits) == "" {
		host, port = host[:at], host[at:]
	}
	var result Verified
	for _, authority := range []string{host, host + port} {
		content := []byte("https://" + authority + r.Target + fields)
		result, err = matchOne(keys, content, nil, made)
		if err == nil {
			if isForm(r.Header) {
				result.Content = sha256.Sum256(content)
			}
			return result, nil
		}
	}
	return Verified{}, err
}
