package signature

import (
	"encoding/json"
	"fmt"
	"time"
)

// record is a key as JSON: without its secret for people, with it inside a
// sealed envelope.
type record struct {
	ID       string    `json:"id"`
	Scheme   string    `json:"scheme"`
	State    State     `json:"state"`
	Created  time.Time `json:"created,omitzero"`
	NotAfter time.Time `json:"notAfter,omitzero"`
	Secret   string    `json:"secret"`
}

func recordOf(k Key, secret string) record {
	return record{ID: k.ID, Scheme: k.Scheme, State: k.State, Created: k.Created, NotAfter: k.NotAfter, Secret: secret}
}

func marshalRedacted(k Key) ([]byte, error) {
	return json.Marshal(recordOf(k, redacted)) //nolint:gosec // no secret in it
}

func (r record) key() (Key, error) {
	k, err := ParseSecret(r.Scheme, r.Secret)
	if err != nil {
		return Key{}, fmt.Errorf("key %q: %w", r.ID, err)
	}
	k.ID, k.State, k.Created, k.NotAfter = r.ID, r.State, r.Created, r.NotAfter
	return k, nil
}

func marshalList(keys []Key) ([]byte, error) {
	records := make([]record, len(keys))
	for i, k := range keys {
		records[i] = recordOf(k, redacted)
	}
	return json.Marshal(records) //nolint:gosec // no secret in them
}
