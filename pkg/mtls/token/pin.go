package token

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"unicode"
)

// maxPIN, in bytes, is beyond any token's own bound.
const maxPIN = 255

// hidden is what is shown in place of a PIN.
const hidden = "PIN (hidden)"

// pin is the secret that unlocks a token. However it is printed, it is not shown.
type pin struct {
	text *string // a pointer, because fmt follows none inside a struct
}

func newPIN(text string) pin { return pin{&text} }

func (p pin) String() string               { return hidden }
func (p pin) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, hidden) }
func (p pin) LogValue() slog.Value         { return slog.StringValue(hidden) }
func (p pin) MarshalJSON() ([]byte, error) { return json.Marshal(hidden) }

// sum tells one PIN from another without keeping it.
func (p pin) sum() [sha256.Size]byte { return sha256.Sum256([]byte(*p.text)) }

// read gets the PIN. Its errors never quote what was read.
func (p PINSource) read() (pin, error) {
	var text []byte
	if p.File != "" {
		content, err := readSmallFile(p.File)
		if err != nil {
			return pin{}, fmt.Errorf("the PIN cannot be read: %w", err)
		}
		text = content
	} else {
		value, ok := os.LookupEnv(p.Environment)
		if !ok {
			return pin{}, fmt.Errorf("the PIN cannot be read: %s is not set", p)
		}
		text = []byte(value)
	}
	text = bytes.TrimSpace(text)
	switch {
	case len(text) == 0:
		return pin{}, fmt.Errorf("the PIN cannot be read: %s is empty", p)
	case len(text) > maxPIN:
		return pin{}, fmt.Errorf("the PIN cannot be read: %s holds more than %d bytes, which is no PIN", p, maxPIN)
	case bytes.ContainsFunc(text, unicode.IsControl):
		return pin{}, fmt.Errorf("the PIN cannot be read: %s holds more than one line, or control characters", p)
	}
	return newPIN(string(text)), nil
}

// maxFileSize, in bytes, is more than a chain of large certificates.
const maxFileSize = 1 << 20

// readSmallFile refuses what is not a regular file before it opens it, because a
// pipe or a device could block for ever.
func readSmallFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err //nolint:wrapcheck // names the operation and the file already
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%q is not a regular file (%s)", name, info.Mode().Type())
	case info.Size() > maxFileSize:
		return nil, fmt.Errorf("%q is larger than %d bytes", name, maxFileSize)
	}
	file, err := os.Open(name) //nolint:gosec // the operator names it
	if err != nil {
		return nil, err //nolint:wrapcheck // as above
	}
	defer func() { _ = file.Close() }()                  // it was only read
	return io.ReadAll(io.LimitReader(file, maxFileSize)) //nolint:wrapcheck // as above
}
