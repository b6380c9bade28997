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
	Secret   string    `json:"secret,omitempty"`
	// Custody is where the private key is that the record does not hold, and Public
	// what verifies its signatures.
	Custody string `json:"custody,omitempty"`
	Public  string `json:"public,omitempty"`
}

func recordOf(k Key, secret string) record {
	r := record{ID: k.ID, Scheme: k.Scheme, State: k.State, Created: k.Created, NotAfter: k.NotAfter, Secret: secret}
	if r.Custody = k.Custody(); r.Custody != "" {
		r.Public, r.Secret = k.Public(), ""
	}
	return r
}

func marshalRedacted(k Key) ([]byte, error) {
	return json.Marshal(recordOf(k, redacted)) //nolint:gosec // no secret in it
}

func (r record) key() (Key, error) {
	k, err := r.read()
	if err != nil {
		return Key{}, fmt.Errorf("key %q: %w", r.ID, err)
	}
	k.ID, k.State, k.Created, k.NotAfter = r.ID, r.State, r.Created, r.NotAfter
	return k, nil
}

// read refuses what says two things about where the secret is.
func (r record) read() (Key, error) {
	switch {
	case r.Custody == "" && r.Public == "":
		return ParseSecret(r.Scheme, r.Secret)
	case r.Secret != "":
		return Key{}, fmt.Errorf("%w: it has a secret, and says that the secret is elsewhere", ErrInvalidKey)
	}
	return KeyInCustody(r.Scheme, r.Custody, r.Public)
}

func marshalList(keys []Key) ([]byte, error) {
	records := make([]record, len(keys))
	for i, k := range keys {
		records[i] = recordOf(k, redacted)
	}
	return json.Marshal(records) //nolint:gosec // no secret in them
}
