package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Delay is how long after the broker has stored it a version, or its deletion, comes into force. It is the time that
// signers have to hear about it.
const Delay = 500 * time.Millisecond

// Version is one version of a schema as it stands in the bucket. It never changes.
type Version struct {
	Name

	// URI is what dataschema says of it.
	URI string
	// Applied is when the broker stored it, and Retired when it stored its deletion; zero for a version that is not
	// deleted.
	Applied, Retired time.Time

	gaps     []Gap
	document []byte
	schema   *Schema
	problem  error
}

// record is a version in the bucket.
type record struct {
	Tenant  string          `json:"tenant"`
	Type    string          `json:"type"`
	Version int             `json:"version"`
	URI     string          `json:"uri"`
	Schema  json.RawMessage `json:"schema"`
	// Since is from when on the version counts, where that is before it was stored: it was broken, and was mended.
	Since time.Time `json:"since,omitzero"`
}

// Encode writes a version for the bucket, under [Name.Key]. base is that of [Name.URI].
func Encode(name Name, s *Schema, base string) ([]byte, error) {
	return EncodeMended(name, s, base, time.Time{})
}

// EncodeMended is [Encode] for a version in place of one that could not be used: what has waited since is for this one.
func EncodeMended(name Name, s *Schema, base string, since time.Time) ([]byte, error) {
	data, err := json.Marshal(record{Since: since, Tenant: name.Tenant, Type: name.Type, Version: name.Number, URI: name.URI(base), Schema: s.document})
	if err != nil {
		return nil, fmt.Errorf("write schema %s: %w", name, err)
	}
	return data, nil
}

// Read takes a version out of the bucket. One that cannot be used is a version, too; [Version.Problem] says why.
func Read(name Name, value []byte, applied time.Time) *Version {
	v := &Version{Name: name, URI: name.URI(""), Applied: applied}
	var r record
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		v.problem = fmt.Errorf("what is stored is not written by `handfast schema apply`: %w", err)
		return v
	}
	v.document = r.Schema
	switch (Name{Kind: Kind{Tenant: r.Tenant, Type: r.Type}, Number: r.Version}) {
	case name:
	default:
		v.problem = fmt.Errorf("what is stored belongs to %s/%s version %d", short(r.Tenant, 63), short(r.Type, MaxType), r.Version)
		return v
	}
	if !isURI(r.URI) || len(r.URI) > 4096 {
		v.problem = fmt.Errorf("its URI %s is none", quote(r.URI))
		return v
	}
	v.URI = r.URI
	if !r.Since.IsZero() && r.Since.Before(applied) {
		v.Applied = r.Since
	}
	v.schema, v.problem = Compile(r.Schema)
	return v
}

// Problem says why the version cannot be used; nil when it can.
func (v *Version) Problem() error { return v.problem }

// Document returns the stored schema; nil when it cannot be read.
func (v *Version) Document() []byte { return v.document }

// Same reports whether a document says the same as the stored one.
func (v *Version) Same(s *Schema) bool { return v.schema != nil && v.schema.Equal(s) }

// InForce reports whether events that the broker stored at a time may be checked against the version.
func (v *Version) InForce(at time.Time) bool {
	if at.Before(v.Applied.Add(Delay)) {
		return false
	}
	for _, gap := range v.gaps {
		if !at.Before(gap.From.Add(Delay)) && at.Before(gap.To.Add(Delay)) {
			return false
		}
	}
	return v.Retired.IsZero() || (v.problem == nil && at.Before(v.Retired.Add(Delay)))
}

// State is one word: "active", "deleted" or "broken".
func (v *Version) State() string {
	switch {
	case !v.Retired.IsZero():
		return "deleted"
	case v.problem != nil:
		return "broken"
	}
	return "active"
}

// UnusableError says that a schema that is needed cannot be used: what depends on it must wait until that is mended.
type UnusableError struct {
	Name Name
	Err  error
}

// Error says which, why and what to do.
func (e *UnusableError) Error() string {
	return fmt.Sprintf("schema %s cannot be used, so what needs it waits; delete it, or store a good one: %s", e.Name, e.Err)
}

// Unwrap gives the cause.
func (e *UnusableError) Unwrap() error { return e.Err }

// errUnknown is the cause when there is no such version.
var errUnknown = errors.New("there is no such version")
