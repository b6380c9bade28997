package schema

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/handfast/handfast/pkg/event"
)

const (
	// MaxType is how many characters a type of event may have for which there is a schema. It is part of a bucket key.
	MaxType = 256
	// MaxVersion is the highest number of a version.
	MaxVersion = 999_999
	// URNPrefix begins the URIs of schemas that were applied without a base URL.
	URNPrefix = "urn:handfast:schema:"

	maxBase       = 256
	retiredSuffix = ".retired"
)

// Kind is what schemas are for: one type of event of one tenant. It is comparable.
type Kind struct {
	Tenant, Type string
}

// NewKind checks both names. The error tells everything that is wrong with them.
func NewKind(tenant, eventType string) (Kind, error) {
	var errs []error
	if _, err := event.Subject(tenant, eventType); err != nil {
		errs = append(errs, err)
	}
	if len(eventType) > MaxType {
		errs = append(errs, fmt.Errorf("the type has %d characters; a type with a schema has at most %d", len(eventType), MaxType))
	}
	return Kind{Tenant: tenant, Type: eventType}, errors.Join(errs...)
}

// String returns "tenant/type".
func (k Kind) String() string { return k.Tenant + "/" + k.Type }

// Keys is the filter by which a bucket hands on every entry of the kind.
func (k Kind) Keys() string { return k.Tenant + "." + encodeType(k.Type) + ".>" }

// Name is one version of a kind's schema. Numbers begin at 1.
type Name struct {
	Kind

	Number int
}

// String returns "tenant/type version 2".
func (n Name) String() string { return n.Kind.String() + " version " + strconv.Itoa(n.Number) }

// Key is the bucket key of the version's document: <tenant>.<type>.<number>. Characters of a type that a key cannot have
// are written as = and two hexadecimal digits.
func (n Name) Key() string {
	return n.Tenant + "." + encodeType(n.Type) + "." + strconv.Itoa(n.Number)
}

// RetiredKey is where it is noted that the version was deleted.
func (n Name) RetiredKey() string { return n.Key() + retiredSuffix }

// ParseNumber reads the number of a version: 1 to [MaxVersion], without zeros in front.
func ParseNumber(text string) (int, error) {
	number, err := strconv.Atoi(text)
	if err != nil || number < 1 || number > MaxVersion || strconv.Itoa(number) != text {
		return 0, fmt.Errorf("%s is not a version: write a whole number from 1 to %d, such as 2", quote(text), MaxVersion)
	}
	return number, nil
}

// ParseKey reads what [Name.Key] and [Name.RetiredKey] write; retired tells which.
func ParseKey(key string) (name Name, retired bool, err error) {
	rest, retired := strings.CutSuffix(key, retiredSuffix)
	tenant, rest, _ := strings.Cut(rest, ".")
	dot := strings.LastIndexByte(rest, '.')
	if dot < 0 {
		return Name{}, false, fmt.Errorf("bucket key %s is not <tenant>.<type>.<version>", quote(key))
	}
	eventType, err := decodeType(rest[:dot])
	if err != nil {
		return Name{}, false, fmt.Errorf("bucket key %s: %w", quote(key), err)
	}
	kind, err := NewKind(tenant, eventType)
	if err != nil {
		return Name{}, false, fmt.Errorf("bucket key %s: %w", quote(key), err)
	}
	number, err := ParseNumber(rest[dot+1:])
	if err != nil {
		return Name{}, false, fmt.Errorf("bucket key %s: %w", quote(key), err)
	}
	name = Name{Kind: kind, Number: number}
	if want := name.Key(); want != strings.TrimSuffix(key, retiredSuffix) {
		return Name{}, false, fmt.Errorf("bucket key %s is not how we write it: %s", quote(key), want)
	}
	return name, retired, nil
}

const hexDigits = "0123456789ABCDEF"

func isLetterOrDigit(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func encodeType(eventType string) string {
	var out strings.Builder
	for i := range len(eventType) {
		if c := eventType[i]; isLetterOrDigit(c) || c == '.' || c == '_' || c == '-' {
			out.WriteByte(c)
		} else {
			out.WriteByte('=')
			out.WriteByte(hexDigits[c>>4])
			out.WriteByte(hexDigits[c&0xF])
		}
	}
	return out.String()
}

func decodeType(text string) (string, error) {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '=' {
			out.WriteByte(text[i])
			continue
		}
		if i+2 >= len(text) {
			return "", errors.New("= stands without two hexadecimal digits")
		}
		code, err := strconv.ParseUint(text[i+1:i+3], 16, 8)
		if err != nil {
			return "", errors.New("= stands without two hexadecimal digits")
		}
		out.WriteByte(byte(code))
		i += 2
	}
	return out.String(), nil
}

// URI is what dataschema says of a version: under a base URL <base>/schemas/<tenant>/<type>/<number>, where signers serve
// it, and without one urn:handfast:schema:<tenant>:<type>:<number>. It is chosen when the version is applied and stored
// with it, so that it never changes.
func (n Name) URI(base string) string {
	if base == "" {
		return URNPrefix + n.Tenant + ":" + escape(n.Type) + ":" + strconv.Itoa(n.Number)
	}
	return strings.TrimRight(base, "/") + "/schemas/" + n.Tenant + "/" + escape(n.Type) + "/" + strconv.Itoa(n.Number)
}

// escape writes a type so that it is one segment of a path, and one part of a URN: only unreserved characters stand for
// themselves (RFC 3986 section 2.3).
func escape(eventType string) string {
	var out strings.Builder
	for i := range len(eventType) {
		if c := eventType[i]; isLetterOrDigit(c) || c == '.' || c == '_' || c == '-' || c == '~' {
			out.WriteByte(c)
		} else {
			out.WriteByte('%')
			out.WriteByte(hexDigits[c>>4])
			out.WriteByte(hexDigits[c&0xF])
		}
	}
	return out.String()
}

// CheckBase says what is wrong with a base URL; an empty one is fine.
func CheckBase(base string) error {
	if base == "" {
		return nil
	}
	u, err := url.Parse(base)
	switch {
	case err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "":
		return fmt.Errorf("%s is not a base URL: write the address under which a signer's /schemas is reached, such as https://schemas.example.com", quote(base))
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil || strings.Contains(base, "#"):
		return fmt.Errorf("%s cannot be a base URL: leave out query, fragment and user", quote(base))
	case len(base) > maxBase:
		return fmt.Errorf("the base URL has %d characters; at most %d are accepted", len(base), maxBase)
	case !isURI(base):
		return fmt.Errorf("%s holds characters that a URI cannot have (RFC 3986): percent-encode them", quote(base))
	}
	return nil
}

// isURI tells whether all characters may stand in a URI. The event package refuses a dataschema with others.
func isURI(text string) bool {
	for i := range len(text) {
		if c := text[i]; !isLetterOrDigit(c) && strings.IndexByte("-._~:/?#[]@!$&'()*+,;=%", c) < 0 {
			return false
		}
	}
	u, err := url.Parse(text)
	return err == nil && u.Scheme != ""
}

// quote shows a text of somebody else: printable, and never long.
func quote(text string) string {
	const enough = 80
	if len(text) > enough {
		return strconv.QuoteToASCII(text[:enough]) + "…"
	}
	return strconv.QuoteToASCII(text)
}
