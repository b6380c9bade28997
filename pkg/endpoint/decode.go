package endpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

const (
	// MaxDocumentSize is the largest document that is accepted, in bytes.
	MaxDocumentSize = 64 << 10

	// maxDepth is far above what an endpoint needs (four levels).
	maxDepth = 16

	nullMessage      = "is empty (null): give it a value or remove it"
	duplicateMessage = "appears more than once: keep one of them"
)

var errTooDeep = fmt.Errorf("nested more than %d levels deep", maxDepth)

// decode turns the document into a tree of map[string]any, []any, string, bool,
// int64, float64 and nil. It reports false when there is no tree to look at.
func decode(document []byte, found *problems) (tree any, ok bool) {
	document = bytes.TrimPrefix(document, []byte("\xef\xbb\xbf"))
	switch {
	case len(document) > MaxDocumentSize:
		found.addf("", "is %d bytes long; at most %d (64 KiB) are accepted", len(document), MaxDocumentSize)
		return nil, false
	case len(bytes.TrimSpace(document)) == 0:
		found.addf("", "is empty: write at least tenant, name and url")
		return nil, false
	case !utf8.Valid(document):
		found.addf("", "is not UTF-8 text: save the file as UTF-8")
		return nil, false
	}
	if bytes.TrimSpace(document)[0] == '{' {
		return decodeJSON(document, found)
	}
	return decodeYAML(document, found)
}

func decodeJSON(document []byte, found *problems) (any, bool) {
	var whole json.RawMessage
	if err := json.Unmarshal(document, &whole); err != nil {
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			before := document[:min(max(int(syntax.Offset)-1, 0), len(document))]
			line := bytes.Count(before, []byte("\n")) + 1
			column := len(before) - bytes.LastIndexByte(before, '\n')
			found.addf("", "is not valid JSON at line %d, column %d: %s", line, column, syntax)
			return nil, false
		}
		found.addf("", "is not valid JSON: %s", err)
		return nil, false
	}
	walk := jsonWalk{decoder: json.NewDecoder(bytes.NewReader(document)), found: found}
	walk.decoder.UseNumber()
	tree, err := walk.value("", 0)
	if err != nil {
		found.addf("", "is not valid JSON: %s", err)
		return nil, false
	}
	return tree, true
}

// jsonWalk reads tokens, because encoding/json itself lets the last of two equal
// keys win in silence.
type jsonWalk struct {
	decoder *json.Decoder
	found   *problems
}

func (w jsonWalk) value(path string, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	token, err := w.decoder.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case json.Delim:
		if token == '{' {
			return w.object(path, depth)
		}
		return w.array(path, depth)
	case json.Number:
		return number(path, token.String(), w.found), nil
	case nil:
		w.found.first(path, nullMessage)
		return nil, nil //nolint:nilnil // null is a value
	default:
		return token, nil
	}
}

func (w jsonWalk) object(path string, depth int) (any, error) {
	object := map[string]any{}
	for w.decoder.More() {
		token, err := w.decoder.Token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string)
		value, err := w.value(join(path, name), depth+1)
		if err != nil {
			return nil, err
		}
		set(object, path, name, value, w.found)
	}
	_, err := w.decoder.Token()
	return object, err
}

func (w jsonWalk) array(path string, depth int) (any, error) {
	array := []any{}
	for w.decoder.More() {
		value, err := w.value(element(path, len(array)), depth+1)
		if err != nil {
			return nil, err
		}
		array = append(array, value)
	}
	_, err := w.decoder.Token()
	return array, err
}

// set keeps the first of two equal keys and reports the second.
func set(object map[string]any, path, name string, value any, found *problems) {
	if _, twice := object[name]; twice {
		found.first(join(path, name), duplicateMessage)
		return
	}
	object[name] = value
}

func element(path string, index int) string {
	return path + "[" + strconv.Itoa(index) + "]"
}

func notANumber(text string) string { return quote(text) + " is not a number that can be used" }

// number reads a JSON or YAML number: int64 when it is whole, so that 8, 8.0
// and 0.8e1 are one value, otherwise float64.
func number(path, text string, found *problems) any {
	if whole, err := strconv.ParseInt(text, 10, 64); err == nil {
		return whole
	}
	float, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(float, 0) || math.IsNaN(float) {
		found.first(path, notANumber(text))
		return int64(0)
	}
	if float == math.Trunc(float) && math.Abs(float) < 1<<53 {
		return int64(float)
	}
	return float
}
