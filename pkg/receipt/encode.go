package receipt

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// Append writes the receipt's JSON to b. It gives the same document as encoding/json, several times faster: there is one
// for every attempt, and all but a few fields are short plain text.
func (r *Receipt) Append(b []byte) ([]byte, error) {
	outcome, err := r.Outcome.MarshalText()
	if err != nil {
		return nil, fmt.Errorf("write receipt: %w", err)
	}
	origin, err := r.Origin.MarshalText()
	if err != nil {
		return nil, fmt.Errorf("write receipt: %w", err)
	}
	e := encoder{b: append(b, '{')}
	e.text("delivery", string(r.Delivery))
	e.text("tenant", r.Tenant)
	e.text("endpoint", r.Endpoint)
	e.key("event")
	e.b = append(e.b, '{')
	e.uint("sequence", r.Event.Sequence)
	e.text("type", r.Event.Type)
	e.text("source", r.Event.Source)
	e.text("id", r.Event.ID)
	e.b = append(e.b, '}')
	e.int("attempt", int64(r.Attempt))
	e.text("outcome", string(outcome))
	e.text("origin", string(origin))
	if r.Status != 0 {
		e.int("status", int64(r.Status))
	}
	e.optional("detail", r.Detail)
	e.optional("advice", r.Advice)
	if r.Next != nil {
		e.time("next", *r.Next)
	}
	e.optional("url", r.URL)
	e.time("first", r.First)
	e.time("signed_at", r.SignedAt)
	e.time("at", r.At)
	e.int("duration_ns", int64(r.Duration))
	e.key("keys")
	e.list(r.Keys)
	e.key("connection_reused")
	e.b = strconv.AppendBool(e.b, r.Reused)
	if r.Proof != nil {
		e.key("proof")
		e.b = append(e.b, r.Proof.JSON()...)
	}
	e.optional("trace", r.Trace)
	e.text("dispatcher", r.Dispatcher)
	return append(e.b, '}'), nil
}

type encoder struct{ b []byte }

func (e *encoder) key(name string) {
	if last := e.b[len(e.b)-1]; last != '{' {
		e.b = append(e.b, ',')
	}
	e.b = append(e.b, '"')
	e.b = append(e.b, name...)
	e.b = append(e.b, '"', ':')
}

func (e *encoder) text(name, value string) {
	e.key(name)
	e.quote(value)
}

func (e *encoder) optional(name, value string) {
	if value != "" {
		e.text(name, value)
	}
}

func (e *encoder) uint(name string, value uint64) {
	e.key(name)
	e.b = strconv.AppendUint(e.b, value, 10)
}

func (e *encoder) int(name string, value int64) {
	e.key(name)
	e.b = strconv.AppendInt(e.b, value, 10)
}

func (e *encoder) time(name string, at time.Time) {
	e.key(name)
	e.b = append(e.b, '"')
	e.b = at.AppendFormat(e.b, time.RFC3339Nano)
	e.b = append(e.b, '"')
}

func (e *encoder) list(values []string) {
	if values == nil {
		e.b = append(e.b, "null"...)
		return
	}
	e.b = append(e.b, '[')
	for i, value := range values {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.quote(value)
	}
	e.b = append(e.b, ']')
}

// quote writes plain text itself and leaves everything that needs an escape to encoding/json.
func (e *encoder) quote(value string) {
	for i := range len(value) {
		if c := value[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(value)
			if err == nil { // a string always can
				e.b = append(e.b, quoted...)
			}
			return
		}
	}
	e.b = append(e.b, '"')
	e.b = append(e.b, value...)
	e.b = append(e.b, '"')
}
