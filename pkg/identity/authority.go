package identity

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/seal"
)

// Authority is one private CA as it is stored: a root that receivers trust, and
// its sealed key. It is a value like [Record], and prints no key either.
type Authority struct {
	Name    string
	State   AuthorityState
	Created time.Time
	Retired time.Time // zero unless retired

	root chain
	key  sealedKey
}

// NewAuthority makes a root with this common name (the authority's own name when
// empty), valid for lifetime (ten years when zero). The error is a
// [*RefusedError].
func NewAuthority(name, commonName string, lifetime time.Duration, vault seal.Vault, now time.Time) (Authority, error) {
	var wrong problems
	wrong.take(CheckName(name))
	if commonName == "" {
		commonName = "Handfast " + name
	}
	if len([]rune(commonName)) > maxCommonName {
		wrong.addf("the common name has more than %d characters", maxCommonName)
	}
	options := []authority.Option{authority.WithClock(func() time.Time { return now })}
	if lifetime != 0 {
		if lifetime < minLifetime {
			wrong.addf("it would be valid for %s only; a root lasts years, because receivers have to be told of the next one", lifetime)
		}
		options = append(options, authority.WithRootLifetime(lifetime))
	}
	if err := wrong.refuse(authorityLabel(name), "created"); err != nil {
		return Authority{}, err
	}
	ca, err := authority.New(commonName, options...)
	if err != nil {
		return Authority{}, refuseFor(err, authorityLabel(name), "created")
	}
	return adopt(name, ca, vault, now, "created")
}

// ImportAuthority takes a private CA that exists: its certificate and key in PEM,
// as [authority.Authority.Marshal] writes them. The error is a [*RefusedError].
func ImportAuthority(name string, text []byte, vault seal.Vault, now time.Time) (Authority, error) {
	var wrong problems
	wrong.take(CheckName(name))
	if err := wrong.refuse(authorityLabel(name), "imported"); err != nil {
		return Authority{}, err
	}
	ca, err := authority.Load(text, authority.WithClock(func() time.Time { return now }))
	if err != nil {
		return Authority{}, refuseFor(err, authorityLabel(name), "imported")
	}
	return adopt(name, ca, vault, now, "imported")
}

func adopt(name string, ca *authority.Authority, vault seal.Vault, now time.Time, act string) (Authority, error) {
	root, key, err := sealRoot(ca, AuthorityKey(name), vault)
	if err != nil {
		return Authority{}, refuseFor(err, authorityLabel(name), act)
	}
	return Authority{Name: name, State: AuthorityActive, Created: stamp(now), root: root, key: key}, nil
}

// sealRoot seals what makes an authority, its certificate and key together, as its
// own package reads them.
func sealRoot(ca *authority.Authority, place string, vault seal.Vault) (chain, sealedKey, error) {
	text, err := ca.Marshal()
	if err != nil {
		return chain{}, nil, err
	}
	defer clear(text)
	envelope, err := vault.Seal(place, text)
	if err != nil {
		return chain{}, nil, fmt.Errorf("its key cannot be sealed: %w", err)
	}
	root, err := newChain([][]byte{ca.Certificate().Raw})
	return root, sealedOf(envelope), err
}

// Key is the key of the authority's entry in the bucket.
func (a Authority) Key() string { return AuthorityKey(a.Name) }

// Certificate is the root. It is shared: read it only. It is nil only for the
// zero Authority.
func (a Authority) Certificate() *x509.Certificate { return a.root.leaf }

// CertificatePEM is the root as one PEM block.
func (a Authority) CertificatePEM() string { return a.root.text }

// Fingerprint is the SHA-256 of the root, in lower-case hex.
func (a Authority) Fingerprint() string { return fingerprint(a.root.leaf) }

// Open returns the authority, able to issue at the time now. The error says that
// it has retired or expired, or why its key stays closed (causes of package
// seal).
func (a Authority) Open(vault seal.Vault, now time.Time) (*authority.Authority, error) {
	if a.key == nil {
		return nil, fmt.Errorf("%s has retired and issues nothing", authorityLabel(a.Name))
	}
	text, err := vault.Open(a.Key(), a.key.raw())
	if err != nil {
		return nil, fmt.Errorf("%s stays closed: %w", authorityLabel(a.Name), err)
	}
	defer clear(text)
	ca, err := authority.Load(text, authority.WithClock(func() time.Time { return now }))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", authorityLabel(a.Name), err)
	}
	if !ca.Certificate().Equal(a.root.leaf) {
		return nil, fmt.Errorf("%s: %w: its key was made for another root than the one beside it", authorityLabel(a.Name), seal.ErrCorrupt)
	}
	return ca, nil
}

// Become returns the authority in another state. The only ways are from active to
// retiring and back, and from either to retired, which destroys the key and
// cannot be undone. The error is a [*RefusedError].
func (a Authority) Become(state AuthorityState, now time.Time) (Authority, error) {
	var wrong problems
	switch {
	case !slices.Contains(AuthorityStates(), state):
		wrong.addf("%s is not a state", state)
	case a.State == AuthorityRetired:
		wrong.addf("it was retired on %s, and its key is gone", utc(a.Retired))
	}
	if err := wrong.refuse(authorityLabel(a.Name), "made "+state.String()); err != nil {
		return Authority{}, err
	}
	a.State = state
	if state == AuthorityRetired {
		a.key, a.Retired = nil, stamp(now)
	}
	return a, nil
}

// Reseal is [Record.Reseal] for an authority.
func (a Authority) Reseal(vault seal.Vault) (resealed Authority, changed bool, err error) {
	if a.key, changed, err = a.key.reseal(vault, a.Key()); err != nil {
		return Authority{}, false, fmt.Errorf("%s: %w", authorityLabel(a.Name), err)
	}
	return a, changed, nil
}

// Bundle is what receivers are given to trust: the roots of all authorities that
// have not retired, in PEM, each under a comment line that names it. Active ones
// come first.
func Bundle(authorities []Authority) []byte {
	live := slices.DeleteFunc(slices.Clone(authorities), func(a Authority) bool {
		return a.State == AuthorityRetired || a.root.leaf == nil
	})
	slices.SortFunc(live, func(a, b Authority) int {
		if a.State != b.State {
			return int(a.State) - int(b.State)
		}
		return strings.Compare(a.Name, b.Name)
	})
	var text bytes.Buffer
	for _, a := range live {
		fmt.Fprintf(&text, "# %s, valid until %s, SHA-256 %s\n%s", a.describe(), utc(a.root.leaf.NotAfter), a.Fingerprint(), a.root.text)
	}
	return text.Bytes()
}

func (a Authority) describe() string {
	return fmt.Sprintf("Handfast authority %q (%s)", a.Name, a.State)
}

// String describes the authority without its key.
func (a Authority) String() string {
	if a.root.leaf == nil {
		return "authority (none)"
	}
	return fmt.Sprintf("authority %q (%s, SHA-256 %s, valid until %s)", a.Name, a.State, a.Fingerprint(), utc(a.root.leaf.NotAfter))
}

// GoString is [Authority.String].
func (a Authority) GoString() string { return a.String() }

// Format writes [Authority.String] for every verb.
func (a Authority) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, a.String()) }

// LogValue is [Authority.String].
func (a Authority) LogValue() slog.Value { return slog.StringValue(a.String()) }

// MarshalJSON writes everything but the key, for people and their scripts. It
// cannot be read back: see [DecodeAuthority].
func (a Authority) MarshalJSON() ([]byte, error) {
	shown := struct {
		Name        string         `json:"name"`
		State       AuthorityState `json:"state"`
		Subject     string         `json:"subject"`
		Fingerprint string         `json:"fingerprint"`
		NotBefore   time.Time      `json:"not_before"`
		NotAfter    time.Time      `json:"not_after"`
		Created     time.Time      `json:"created"`
		Retired     time.Time      `json:"retired,omitzero"`
		Certificate string         `json:"certificate"`
	}{Name: a.Name, State: a.State, Fingerprint: a.Fingerprint(), Created: a.Created, Retired: a.Retired, Certificate: a.root.text}
	if root := a.root.leaf; root != nil {
		shown.Subject, shown.NotBefore, shown.NotAfter = root.Subject.String(), root.NotBefore.UTC(), root.NotAfter.UTC()
	}
	return json.Marshal(shown)
}

// UnmarshalJSON always fails, because what MarshalJSON writes has no key.
func (a *Authority) UnmarshalJSON([]byte) error {
	return errors.New("identity: an authority cannot be read from JSON for people, which carries no key; use DecodeAuthority")
}
