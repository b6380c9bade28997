package identity

import (
	"encoding/json"
	"fmt"
	"time"
)

const authorityVersion = 1

// storedAuthority is what stands in the bucket.
type storedAuthority struct {
	Version     int             `json:"v"`
	Name        string          `json:"name"`
	State       AuthorityState  `json:"state"`
	Created     time.Time       `json:"created"`
	Retired     time.Time       `json:"retired,omitzero"`
	Certificate string          `json:"certificate"`
	Key         json.RawMessage `json:"key,omitempty"`
}

// Encode writes the authority as it is stored under [Authority.Key]: its key
// sealed. The error tells everything that does not fit together.
func (a Authority) Encode() ([]byte, error) {
	if err := a.problems().refuse(authorityLabel(a.Name), "stored"); err != nil {
		return nil, err
	}
	return json.Marshal(storedAuthority{
		Version: authorityVersion, Name: a.Name, State: a.State, Created: a.Created, Retired: a.Retired,
		Certificate: a.root.text, Key: a.key.raw(),
	})
}

// DecodeAuthority reads what [Authority.Encode] wrote for this key of the bucket.
// It does not open the key. The error is like that of [DecodeRecord].
func DecodeAuthority(key string, value []byte) (Authority, error) {
	var s storedAuthority
	if err := decodeStrictly(value, &s); err != nil {
		return Authority{}, &RefusedError{What: fmt.Sprintf("entry %q", key), Act: "read", Problems: []string{err.Error()}}
	}
	wrong := make(problems, 0, 4)
	name, err := nameIn(authorityPrefix, key)
	wrong.take(err)
	if err == nil && s.Name != name {
		wrong.addf("it holds authority %q, so somebody put it into a foreign place", s.Name)
	}
	if s.Version != authorityVersion {
		wrong.addf("it has version %d, this program reads version %d; a newer program may have written it", s.Version, authorityVersion)
	}
	a := Authority{Name: s.Name, State: s.State, Created: s.Created, Retired: s.Retired, key: sealedOf(s.Key)}
	if s.Certificate != "" {
		a.root, err = parseChain(s.Certificate)
		wrong.take(err)
	}
	wrong = append(wrong, a.problems()...)
	if err := wrong.refuse(fmt.Sprintf("entry %q", key), "used"); err != nil {
		return Authority{}, err
	}
	return a, nil
}

func (a Authority) problems() (wrong problems) {
	wrong.take(CheckName(a.Name))
	if _, err := a.State.MarshalText(); err != nil {
		wrong.addf("its state: %v", err)
	}
	if a.Created.IsZero() {
		wrong.addf("it does not say when it was created")
	}
	switch {
	case a.root.leaf == nil:
		wrong.addf("it has no root certificate")
	case !a.root.leaf.IsCA || !a.root.leaf.BasicConstraintsValid:
		wrong.addf("its certificate is not that of a CA")
	}
	if retired := a.State == AuthorityRetired; retired != (a.key == nil) || retired == a.Retired.IsZero() {
		wrong.addf("it has a key until it retires, and says when it did")
	}
	return wrong
}
