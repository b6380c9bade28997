package rotation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/handfast/handfast/pkg/endpoint"
)

const (
	// recordVersion stands in every record, so that a later release can tell what it reads.
	recordVersion = 1
	// maxRecordSize is far above what a record needs, in bytes.
	maxRecordSize = 64 << 10
	// maxWords bounds reasons and advice: receivers write into them, in bytes.
	maxWords = 1000
	// maxPerson bounds the names of persons, in bytes.
	maxPerson = 200

	maxDepth = 8

	assignmentPrefix = "assignment."
	statusPrefix     = "rotation."

	identityRule = "use 1 to 63 lower-case letters, digits or hyphens, with a letter or digit at both ends"
)

var (
	identityPattern  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	rotationPattern  = regexp.MustCompile(`^[0-9a-f]{16}$`)
	fieldPattern     = regexp.MustCompile(`^[a-z_]+$`)
	partitionPattern = regexp.MustCompile(`^(0|[1-9]\d{0,2})$`)
)

// header begins every record.
type header struct {
	Version int `json:"version"`
}

func (h header) check() error {
	if h.Version != recordVersion {
		return fmt.Errorf("the record has version %d; this release reads version %d: use the release that wrote it, or a newer one", h.Version, recordVersion)
	}
	return nil
}

// AssignmentKey is where the assignment of an identity's name stands in the bucket "identities".
func AssignmentKey(identity string) string { return assignmentPrefix + identity }

// StatusKey is where the status of one endpoint stands in the bucket "identities". The partition is in it so that a
// dispatcher can follow its own share only.
func StatusKey(identity string, partition int, key endpoint.Key) string {
	return statusPrefix + identity + "." + strconv.Itoa(partition) + "." + key.Tenant + "." + key.Name
}

// IsAssignmentKey tells whether a key of the bucket is for Board.PutAssignment.
func IsAssignmentKey(key string) bool { return strings.HasPrefix(key, assignmentPrefix) }

// IsStatusKey tells whether a key of the bucket is for Board.PutStatus.
func IsStatusKey(key string) bool { return strings.HasPrefix(key, statusPrefix) }

// ParseAssignmentKey reads what [AssignmentKey] writes.
func ParseAssignmentKey(text string) (identity string, err error) {
	identity, found := strings.CutPrefix(text, assignmentPrefix)
	if !found || !identityPattern.MatchString(identity) {
		return "", fmt.Errorf("key %q is not assignment.<identity>", text)
	}
	return identity, nil
}

// ParseStatusKey reads what [StatusKey] writes.
func ParseStatusKey(text string) (identity string, partition int, key endpoint.Key, err error) {
	wrong := func() (string, int, endpoint.Key, error) {
		return "", 0, endpoint.Key{}, fmt.Errorf("key %q is not rotation.<identity>.<partition>.<tenant>.<endpoint>", text)
	}
	rest, found := strings.CutPrefix(text, statusPrefix)
	parts := strings.Split(rest, ".")
	if !found || len(parts) != 4 || !identityPattern.MatchString(parts[0]) || !partitionPattern.MatchString(parts[1]) {
		return wrong()
	}
	key, err = endpoint.ParseKey(parts[2] + "/" + parts[3])
	if err != nil {
		return wrong()
	}
	partition, err = strconv.Atoi(parts[1])
	if err != nil {
		return wrong()
	}
	return parts[0], partition, key, nil
}

// decode reads one JSON object into a record and accepts nothing that encoding/json would read loosely: unknown,
// repeated or otherwise spelt fields, nulls, and anything after the object.
func decode(data []byte, into any) error {
	switch {
	case len(data) > maxRecordSize:
		return fmt.Errorf("it is %d bytes long; at most %d are accepted", len(data), maxRecordSize)
	case !utf8.Valid(data):
		return errors.New("it is not UTF-8 text")
	}
	walk := json.NewDecoder(bytes.NewReader(data))
	walk.UseNumber()
	if err := plain(walk, 0); err != nil {
		return err
	}
	if _, err := walk.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows after the object")
	}
	read := json.NewDecoder(bytes.NewReader(data))
	read.DisallowUnknownFields()
	if err := read.Decode(into); err != nil {
		return fmt.Errorf("it is not a record of this release: %w", err)
	}
	return nil
}

// plain walks over one value and refuses what a strict reader must not accept.
func plain(walk *json.Decoder, depth int) error {
	token, err := walk.Token()
	if err != nil {
		return fmt.Errorf("it is not valid JSON: %w", err)
	}
	if depth > maxDepth {
		return errors.New("it is nested too deeply")
	}
	delimiter, nested := token.(json.Delim)
	switch {
	case token == nil:
		return errors.New("it holds a null")
	case !nested && depth == 0:
		return errors.New("it is not a JSON object")
	case !nested:
		return nil
	}
	seen := map[string]bool{}
	for walk.More() {
		if delimiter == '{' {
			name, err := walk.Token()
			if err != nil {
				return fmt.Errorf("it is not valid JSON: %w", err)
			}
			field, _ := name.(string)
			if seen[field] || !fieldPattern.MatchString(field) {
				return fmt.Errorf("the field %q appears twice or is not spelt as in a record", field)
			}
			seen[field] = true
		}
		if err := plain(walk, depth+1); err != nil {
			return err
		}
	}
	if _, err := walk.Token(); err != nil {
		return fmt.Errorf("it is not valid JSON: %w", err)
	}
	return nil
}

// clip keeps words of a receiver within bounds and in valid UTF-8.
func clip(words string) string {
	words = strings.ToValidUTF8(words, "\uFFFD")
	if len(words) <= maxWords {
		return words
	}
	cut := maxWords - len("…")
	for !utf8.RuneStart(words[cut]) {
		cut--
	}
	return words[:cut] + "…"
}

func checkIdentity(what, name string) error {
	if !identityPattern.MatchString(name) {
		return fmt.Errorf("%s %q is not the name of an identity: %s", what, name, identityRule)
	}
	return nil
}

func checkPerson(what, name string) error {
	if strings.TrimSpace(name) == "" || len(name) > maxPerson || !utf8.ValidString(name) {
		return fmt.Errorf("%s must name a person or a process, in 1 to %d bytes", what, maxPerson)
	}
	return nil
}
