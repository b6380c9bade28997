package identity

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/handfast/handfast/pkg/mtls/authority"
)

const (
	recordVersion = 1
	// maxStored, in bytes, bounds what is parsed. Our own entries take about
	// 5 KiB; chains of large certificates make it more.
	maxStored = 128 << 10
)

// storedRecord is what stands in the bucket.
type storedRecord struct {
	Version      int             `json:"v"`
	Name         string          `json:"name"`
	Origin       Origin          `json:"origin"`
	State        State           `json:"state"`
	Authority    string          `json:"authority,omitempty"`
	CommonName   string          `json:"common_name,omitempty"`
	Organization string          `json:"organization,omitempty"`
	URIs         []string        `json:"uris,omitempty"`
	DNSNames     []string        `json:"dns_names,omitempty"`
	Lifetime     int64           `json:"lifetime_s,omitempty"`
	Created      time.Time       `json:"created"`
	Installed    time.Time       `json:"installed,omitzero"`
	Requested    time.Time       `json:"requested,omitzero"`
	Retired      time.Time       `json:"retired,omitzero"`
	Chain        string          `json:"chain,omitempty"`
	Key          json.RawMessage `json:"key,omitempty"`
	Request      string          `json:"request,omitempty"`
	NextKey      json.RawMessage `json:"next_key,omitempty"`
}

// Encode writes the record as it is stored under [Record.Key]: keys sealed. The
// error tells everything that does not fit together.
func (r Record) Encode() ([]byte, error) {
	if err := r.problems().refuse(identityLabel(r.Name), "stored"); err != nil {
		return nil, err
	}
	return json.Marshal(storedRecord{
		Version: recordVersion, Name: r.Name, Origin: r.Origin, State: r.State, Authority: r.Authority,
		CommonName: r.Profile.CommonName, Organization: r.Profile.Organization,
		URIs: r.Profile.URIs, DNSNames: r.Profile.DNSNames, Lifetime: int64(r.Profile.Lifetime / time.Second),
		Created: r.Created, Installed: r.Installed, Requested: r.Requested, Retired: r.Retired,
		Chain: r.chain.text, Key: r.key.raw(), Request: r.request, NextKey: r.next.raw(),
	})
}

// DecodeRecord reads what [Record.Encode] wrote for this key of the bucket. It
// does not open the keys. The error tells everything that is wrong at once; a
// record of another name, a field that this program does not know and a newer
// version are errors.
func DecodeRecord(key string, value []byte) (Record, error) {
	var s storedRecord
	if err := decodeStrictly(value, &s); err != nil {
		return Record{}, &RefusedError{What: fmt.Sprintf("entry %q", key), Act: "read", Problems: []string{err.Error()}}
	}
	r := Record{
		Name: s.Name, Origin: s.Origin, State: s.State, Authority: s.Authority,
		Profile: Profile{
			CommonName: s.CommonName, Organization: s.Organization,
			URIs: s.URIs, DNSNames: s.DNSNames, Lifetime: time.Duration(s.Lifetime) * time.Second,
		},
		Created: s.Created, Installed: s.Installed, Requested: s.Requested, Retired: s.Retired,
		key: sealedOf(s.Key), request: s.Request, next: sealedOf(s.NextKey),
	}
	wrong := make(problems, 0, 4)
	name, err := nameIn(recordPrefix, key)
	wrong.take(err)
	if err == nil && s.Name != name {
		wrong.addf("it holds the record of %q, so somebody put it into a foreign place", s.Name)
	}
	if s.Version != recordVersion {
		wrong.addf("it has version %d, this program reads version %d; a newer program may have written it", s.Version, recordVersion)
	}
	if s.Chain != "" {
		r.chain, err = parseChain(s.Chain)
		wrong.take(err)
	}
	if s.Request != "" {
		_, err = authority.ParseRequest([]byte(s.Request))
		wrong.take(err)
	}
	wrong = append(wrong, r.problems()...)
	if err := wrong.refuse(fmt.Sprintf("entry %q", key), "used"); err != nil {
		return Record{}, err
	}
	return r, nil
}

// decodeStrictly takes exactly one JSON value without unknown fields.
func decodeStrictly(value []byte, into any) error {
	if len(value) > maxStored {
		return fmt.Errorf("it is %d bytes long; at most %d are allowed", len(value), maxStored)
	}
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("it is not a record: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the record")
	}
	return nil
}

// parseChain takes PEM as we write it: certificates and nothing else.
func parseChain(text string) (chain, error) {
	var der [][]byte
	for rest := []byte(text); len(rest) > 0; {
		block, after := pem.Decode(rest)
		if block == nil || block.Type != certificateBlock {
			return chain{}, errors.New("its chain is not a list of certificates in PEM")
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return chain{}, fmt.Errorf("a certificate of its chain cannot be read: %w", err)
		}
		der, rest = append(der, block.Bytes), after
	}
	return newChain(der)
}

// problems says what does not fit together. Time is not looked at: a record that
// has expired is a good record.
func (r Record) problems() (wrong problems) {
	wrong.take(CheckName(r.Name))
	if _, err := r.Origin.MarshalText(); err != nil {
		wrong.addf("its origin: %v", err)
	}
	if r.Created.IsZero() {
		wrong.addf("it does not say when it was created")
	}
	if (r.Origin == FromAuthority) != (r.Authority != "") {
		wrong.addf("it names an authority if, and only if, that issues its certificates (authority %q, origin %s)", r.Authority, r.Origin)
	}
	if r.Origin == FromAuthority {
		wrong.take(CheckName(r.Authority))
		wrong = append(wrong, r.Profile.problems()...)
		wrong = append(wrong, r.Profile.lifetimeProblems()...)
	}
	if (r.next == nil) != (r.request == "") || (r.next == nil) != r.Requested.IsZero() {
		wrong.addf("a request that waits needs its key and its time")
	}
	return append(wrong, r.stateProblems()...)
}

func (r Record) stateProblems() (wrong problems) {
	hasKey, hasChain := r.key != nil, r.chain.leaf != nil
	switch r.State {
	case Pending:
		if r.Origin != Requested || hasKey || hasChain || r.next == nil {
			wrong.addf("a pending identity has a request and its key, and nothing else")
		}
	case Active:
		if !hasKey || !hasChain || r.Installed.IsZero() {
			wrong.addf("an active identity has a certificate, its key and the time at which they were installed")
		}
	case Retired:
		if hasKey || r.next != nil || r.Retired.IsZero() {
			wrong.addf("a retired identity has no key any more and says when it was retired")
		}
	default:
		wrong.addf("%s is not a state of an identity", r.State)
	}
	return wrong
}
