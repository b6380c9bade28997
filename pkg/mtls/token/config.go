package token

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of [Config.Sessions]. One session more than can sign at a time is kept
// open, because a token forgets who is logged in with its last session.
const (
	minSessions = 2
	maxSessions = 1024
	// defaultSessions is what [Config.Sessions] is when it is zero.
	defaultSessions = 16
)

// maxName bounds labels and ids, in bytes; tokens' own bounds are lower.
const maxName = 255

// ErrWithoutCgo is matched by the errors of everything that needs a token, in a
// binary that cannot load PKCS#11 modules.
var ErrWithoutCgo = errors.New("this binary was built without cgo, which loading a PKCS#11 module needs: " +
	"build it with CGO_ENABLED=1 and a C compiler, or keep this key elsewhere")

// Config says where a private key and its certificate are. It holds no secret,
// so it may be printed. [ParseURI] makes one from text.
type Config struct {
	Module      string // absolute path of the PKCS#11 library
	Token       string // label of the token; or
	Serial      string // its serial number; exactly one of the two
	Object      string // label of the key (CKA_LABEL); and, or instead,
	ID          []byte // its id (CKA_ID)
	PIN         PINSource
	Certificate string // absolute path of a PEM file with the chain; empty: the token's own certificate
	Sessions    int    // sessions opened at most, 2 to 1024; one less can sign at a time; zero is 16
}

// ConfigError is everything that is wrong with a [Config] or with the URI of
// one. It never quotes a PIN.
type ConfigError struct {
	Problems []string // each a clause in words; never empty
}

// Error tells all problems in one line.
func (e *ConfigError) Error() string {
	return "the PKCS#11 key cannot be used: " + strings.Join(e.Problems, "; ")
}

// Validate finds everything that is wrong without looking at files or tokens.
// The error is a [*ConfigError].
func (c Config) Validate() error {
	if problems := c.problems(); len(problems) > 0 {
		return &ConfigError{Problems: problems}
	}
	return nil
}

func (c Config) problems() []string {
	var problems []string
	add := func(bad bool, format string, arguments ...any) {
		if bad {
			problems = append(problems, fmt.Sprintf(format, arguments...))
		}
	}
	add(c.Module == "", "module-path is missing: give the absolute path of the token's PKCS#11 library")
	add(c.Module != "" && !isPath(c.Module), "module-path is not an absolute path: the library that gets the PIN is never searched for")
	add(c.Token == "" && c.Serial == "", "token is missing: give the token's label, or its serial number as serial")
	add(c.Token != "" && c.Serial != "", "token and serial are both given: one of them names the token")
	add(c.Object == "" && len(c.ID) == 0, "object is missing: give the key's label, or its id as id")
	for _, label := range [][2]string{{"token", c.Token}, {"serial", c.Serial}, {"object", c.Object}} {
		add(!isLabel(label[1]), "%s is longer than %d bytes, or holds control characters or bytes that are not UTF-8", label[0], maxName)
	}
	add(len(c.ID) > maxName, "id is longer than %d bytes", maxName)
	problems = append(problems, c.PIN.problems()...)
	add(c.Certificate != "" && !isPath(c.Certificate), "certificate is not an absolute path")
	add(c.Sessions != 0 && (c.Sessions < minSessions || c.Sessions > maxSessions),
		"sessions is %d and has to be %d to %d: one is kept open, the others sign", c.Sessions, minSessions, maxSessions)
	return problems
}

// String is the URI of the config.
func (c Config) String() string { return c.URI() }

// sessions is the number with its default.
func (c Config) sessions() int {
	if c.Sessions == 0 {
		return defaultSessions
	}
	return c.Sessions
}

// tokenName names the token for people.
func (c Config) tokenName() string {
	if c.Token != "" {
		return fmt.Sprintf("token %q", c.Token)
	}
	return fmt.Sprintf("the token with serial number %q", c.Serial)
}

// keyName names the key for people.
func (c Config) keyName() string {
	switch {
	case c.Object == "":
		return "key with id " + hex.EncodeToString(c.ID)
	case len(c.ID) == 0:
		return fmt.Sprintf("key %q", c.Object)
	default:
		return fmt.Sprintf("key %q with id %s", c.Object, hex.EncodeToString(c.ID))
	}
}

// PINSource is where a PIN is read, each time that the token is opened: exactly
// one of a file and an environment variable. It is never the PIN itself, which
// a command line would show to everybody on the machine.
type PINSource struct {
	File        string // absolute path; white space around the PIN does not count
	Environment string // name of a variable
}

// String tells the place.
func (p PINSource) String() string {
	if p.File != "" {
		return fmt.Sprintf("file %q", p.File)
	}
	return "environment variable " + p.Environment
}

func (p PINSource) problems() []string {
	switch {
	case p.File == "" && p.Environment == "":
		return []string{"pin-source is missing: give file:/PATH or env:NAME, where the PIN is read"}
	case p.File != "" && p.Environment != "":
		return []string{"pin-source is given twice: as a file and as an environment variable"}
	case p.File != "" && !isPath(p.File):
		return []string{"pin-source is not an absolute path"}
	case p.Environment != "" && !isVariable(p.Environment):
		return []string{"pin-source names no environment variable: letters, digits and '_', not beginning with a digit"}
	default:
		return nil
	}
}

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

func isVariable(name string) bool { return variable.MatchString(name) }

func isPath(name string) bool {
	return filepath.IsAbs(name) && len(name) < 4096 && !strings.ContainsFunc(name, unicode.IsControl)
}

func isLabel(text string) bool {
	return len(text) <= maxName && utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}
