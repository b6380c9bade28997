package token

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Scheme is how the URI of a [Config] begins (RFC 7512 section 2.3).
const Scheme = "pkcs11:"

// maxURI bounds the work of ParseURI, in bytes.
const maxURI = 16 << 10

// ParseURI reads a PKCS#11 URI (RFC 7512), strictly:
//
//	pkcs11:token=acme;object=web?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin
//
// Before the '?': token or serial, object and, or, id, and type, which can only
// be private. After it: module-path, pin-source as file:/PATH or env:NAME, and
// two of our own, certificate (absolute path of a PEM file; without it the
// token's certificate is used) and sessions. Other attributes, even if the RFC
// has them, are refused rather than ignored, since they could have meant another
// key. So is pin-value: a PIN has no place in a URI.
//
// The error is a [*ConfigError] with every problem at once.
func ParseURI(text string) (Config, error) {
	rest, ok := strings.CutPrefix(text, Scheme)
	switch {
	case !ok:
		return Config{}, &ConfigError{Problems: []string{"it does not begin with " + Scheme}}
	case len(text) > maxURI:
		return Config{}, &ConfigError{Problems: []string{fmt.Sprintf("the URI is longer than %d bytes", maxURI)}}
	}
	p := uriParser{seen: map[string]bool{}, discreet: strings.Contains(strings.ToLower(text), "pin-value")}
	path, query, asked := strings.Cut(rest, "?")
	p.attributes(path, ";", pathReserved, p.setPath)
	if asked {
		p.attributes(query, "&", queryReserved, p.setQuery)
	}
	for _, problem := range p.config.problems() {
		// What was given and is wrong has been told; what it leaves empty is no second problem.
		if name, _, missing := strings.Cut(problem, " is missing"); !missing || !p.seen[name] {
			p.problems = append(p.problems, problem)
		}
	}
	if len(p.problems) > 0 {
		return Config{}, &ConfigError{Problems: p.problems}
	}
	return p.config, nil
}

// Characters that may stand for themselves (RFC 7512 section 2.3), beside
// letters, digits and "-._~".
const (
	pathReserved  = ":[]@!$'()*+,=&"
	queryReserved = ":[]@!$'()*+,=/?|"
)

type uriParser struct {
	config   Config
	problems []string
	seen     map[string]bool
	discreet bool // the text holds a PIN: what is not understood could be a part of it and is not quoted
}

func (p *uriParser) problemf(format string, arguments ...any) {
	p.problems = append(p.problems, fmt.Sprintf(format, arguments...))
}

// attributes reads one half of the URI. set reports whether it knows the name.
func (p *uriParser) attributes(text, separator, reserved string, set func(name, value string) bool) {
	if text == "" {
		return // RFC 7512 allows it; what is missing is found later
	}
	number := 0
	for attribute := range strings.SplitSeq(text, separator) {
		number++
		name, raw, ok := strings.Cut(attribute, "=")
		label := strconv.Quote(name)
		if p.discreet && !slices.Contains(known, name) {
			label = fmt.Sprintf("number %d", number)
		}
		value, decoded := decode(raw, reserved)
		switch {
		case !ok || name == "":
			p.problemf("attribute %s is not NAME=VALUE", label)
		case p.seen[name]:
			p.problemf("attribute %s is given twice", label)
		case name == "pin-value":
			p.problemf("pin-value is refused: a PIN in a URI is seen by everybody on this machine; use pin-source=file:/PATH or pin-source=env:NAME, and change that PIN")
		case !decoded:
			p.seen[name] = true
			p.problemf("the value of attribute %s holds characters that have to be percent-encoded, or a '%%' without two hexadecimal digits", label)
		case value == "":
			p.seen[name] = true
			p.problemf("attribute %s is empty", label)
		case !set(name, value):
			p.problemf("attribute %s is not one that is used here at this place: token, serial, object, id, type before the '?', "+
				"module-path, pin-source, certificate, sessions after it", label)
		default:
			p.seen[name] = true
		}
	}
}

var known = []string{
	"token", "serial", "object", "id", "type", "module-path", "pin-source", "pin-value", "certificate", "sessions",
}

func (p *uriParser) setPath(name, value string) bool {
	switch name {
	case "token":
		p.config.Token = value
	case "serial":
		p.config.Serial = value
	case "object":
		p.config.Object = value
	case "id":
		p.config.ID = []byte(value)
	case "type":
		if value != "private" {
			p.problemf(`attribute "type" can only be private: the URI names the private key`)
		}
	default:
		return false
	}
	return true
}

func (p *uriParser) setQuery(name, value string) bool {
	switch name {
	case "module-path":
		p.config.Module = value
	case "certificate":
		p.config.Certificate = value
	case "pin-source":
		p.setPIN(value)
	case "sessions":
		n, err := strconv.ParseUint(value, 10, 16)
		if err != nil || n == 0 {
			p.problemf(`attribute "sessions" is not a whole number from %d to %d`, minSessions, maxSessions)
			return true
		}
		p.config.Sessions = int(n)
	default:
		return false
	}
	return true
}

func (p *uriParser) setPIN(value string) {
	if name, ok := strings.CutPrefix(value, "env:"); ok {
		p.config.PIN.Environment = name
	} else if name, ok := strings.CutPrefix(value, "file:"); ok {
		// RFC 8089 has file:/path and file:///path, which mean the same.
		if host, found := strings.CutPrefix(name, "//"); found {
			name = host
		}
		p.config.PIN.File = name
	}
	if p.config.PIN == (PINSource{}) {
		p.problemf("pin-source is neither file:/PATH nor env:NAME (a command is not run)")
	}
}

// URI is the text from which ParseURI makes an equal Config.
func (c Config) URI() string {
	var path, query []string
	add := func(list *[]string, name, value, reserved string) {
		if value != "" {
			*list = append(*list, name+"="+encode(value, reserved))
		}
	}
	add(&path, "token", c.Token, pathReserved)
	add(&path, "serial", c.Serial, pathReserved)
	add(&path, "object", c.Object, pathReserved)
	if len(c.ID) > 0 {
		path = append(path, "id="+encodeAll(c.ID))
	}
	add(&query, "module-path", c.Module, queryReserved)
	if c.PIN.File != "" {
		add(&query, "pin-source", "file:"+filepath.ToSlash(c.PIN.File), queryReserved)
	} else if c.PIN.Environment != "" {
		add(&query, "pin-source", "env:"+c.PIN.Environment, queryReserved)
	}
	add(&query, "certificate", c.Certificate, queryReserved)
	if c.Sessions != 0 {
		query = append(query, "sessions="+strconv.Itoa(c.Sessions))
	}
	text := Scheme + strings.Join(path, ";")
	if len(query) > 0 {
		text += "?" + strings.Join(query, "&")
	}
	return text
}

// decode undoes percent-encoding. ok is false for what the grammar forbids.
func decode(text, reserved string) (value string, ok bool) {
	var b strings.Builder
	for n := 0; n < len(text); n++ {
		c := text[n]
		switch {
		case c == '%':
			if n+2 >= len(text) {
				return "", false
			}
			v, err := strconv.ParseUint(text[n+1:n+3], 16, 8)
			if err != nil {
				return "", false
			}
			b.WriteByte(byte(v))
			n += 2
		case plain(c, reserved):
			b.WriteByte(c)
		default:
			return "", false
		}
	}
	return b.String(), true
}

func encode(text, reserved string) string {
	var b strings.Builder
	for n := range len(text) {
		if plain(text[n], reserved) {
			b.WriteByte(text[n])
		} else {
			fmt.Fprintf(&b, "%%%02X", text[n])
		}
	}
	return b.String()
}

// encodeAll encodes every byte, as RFC 7512 section 2.3 wants it for ids.
func encodeAll(id []byte) string {
	var b strings.Builder
	for _, c := range id {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

func plain(c byte, reserved string) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("-._~", c) >= 0 || strings.IndexByte(reserved, c) >= 0
}
