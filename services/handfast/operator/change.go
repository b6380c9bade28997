package operator

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/handfast/handfast/pkg/endpoint"
)

// Kinds of change.
const (
	Created   = "created"
	Changed   = "changed"
	Unchanged = "unchanged"
	// Enabled is an unchanged document that was applied again, which lifts what a receiver's 410 had set.
	Enabled = "enabled"
	Deleted = "deleted"
)

// Change is what happened to one endpoint, or would happen.
type Change struct {
	Endpoint string `json:"endpoint"`
	Kind     string `json:"change"`
	// Fields are the differences of a changed document.
	Fields []Field `json:"fields,omitempty"`
	// Note says what else there is to know.
	Note string `json:"note,omitempty"`
	// Notes say what the change means for the signatures, and Warnings what is known against them.
	Notes    []string `json:"notes,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
	// Revision is that of the stored document; 0 when nothing was stored.
	Revision uint64 `json:"revision,omitempty"`
}

// Field is one difference. A value that was or is absent is empty. Certificates are named by subject and fingerprint; of
// a URL only the part that is no secret is shown.
type Field struct {
	Path string `json:"path"`
	Old  string `json:"old"`
	New  string `json:"new"`
}

// compare lists the differences between two documents of one endpoint.
func compare(before, after *endpoint.Endpoint) ([]Field, error) {
	from, err := flat(before)
	if err != nil {
		return nil, err
	}
	to, err := flat(after)
	if err != nil {
		return nil, err
	}
	paths := maps.Clone(from)
	maps.Copy(paths, to)
	var fields []Field
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if from[path] == to[path] {
			continue
		}
		f := Field{Path: path, Old: show(path, from[path]), New: show(path, to[path])}
		if f.Old == f.New {
			f.Old, f.New = f.Old+" (before)", f.New+" (another one)"
		}
		fields = append(fields, f)
	}
	return fields, nil
}

func flat(e *endpoint.Endpoint) (map[string]string, error) {
	document, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("compare endpoint %s: %w", e.Key(), err)
	}
	var tree any
	if err := json.Unmarshal(document, &tree); err != nil {
		return nil, fmt.Errorf("compare endpoint %s: %w", e.Key(), err)
	}
	values := make(map[string]string)
	flatten("", tree, values)
	return values, nil
}

func flatten(path string, value any, into map[string]string) {
	switch value := value.(type) {
	case map[string]any:
		for name, child := range value {
			flatten(strings.TrimPrefix(path+"."+name, "."), child, into)
		}
	case []any:
		for i, child := range value {
			flatten(path+"["+strconv.Itoa(i)+"]", child, into)
		}
	case string:
		into[path] = value
	default:
		into[path] = fmt.Sprint(value)
	}
}

func show(path, value string) string {
	switch {
	case value == "":
		return ""
	case path == "url":
		return origin(value)
	case strings.Contains(value, "-----BEGIN "):
		return certificates(value)
	}
	return value
}

// origin leaves out what is often secret.
func origin(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "(a URL)"
	}
	if u.RequestURI() == "/" {
		return u.Scheme + "://" + u.Host
	}
	return u.Scheme + "://" + u.Host + "/…"
}

// certificates names those of a PEM text.
func certificates(text string) string {
	var names []string
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return strings.Join(names, " and ")
		}
		name := "an unreadable certificate"
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			sum := sha256.Sum256(c.Raw)
			name = fmt.Sprintf("certificate %q (sha256 %s…)", c.Subject, hex.EncodeToString(sum[:4]))
		}
		names = append(names, name)
	}
}
