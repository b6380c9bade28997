package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/services/handfast/connection"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/services/handfast/table"
)

// keyFlags are what every change of a key has.
type keyFlags struct {
	masterFlags
	connection.Flags

	Endpoint endpointName `arg:"" help:"The endpoint." placeholder:"TENANT/NAME"`
	JSON     bool         `help:"Print one JSON object." name:"json"`
}

// change runs one change and prints what it did.
func (f *keyFlags) change(ctx context.Context, s streams, do func(*operator.Operator, signature.Vault) (operator.KeyChange, error)) error {
	vault, err := f.vault(ctx, ".handfast")
	if err != nil {
		return err
	}
	return operate(ctx, s, &f.Flags, "key", func(o *operator.Operator) error {
		change, err := do(o, vault)
		if err != nil {
			return err
		}
		return f.tell(s, change)
	})
}

// keyChange is a change as --json prints it.
type keyChange struct {
	Endpoint string     `json:"endpoint"`
	Change   string     `json:"change"`
	Key      shownKey   `json:"key"`
	Retiring []shownKey `json:"retiring,omitempty"`
	Notes    []string   `json:"notes,omitempty"`
}

func (f *keyFlags) tell(s streams, change operator.KeyChange) error {
	now := time.Now()
	if f.JSON {
		shown := keyChange{Endpoint: change.Endpoint.String(), Change: change.Kind, Key: listed(change.Endpoint, change.Key, now), Notes: change.Notes}
		for _, k := range change.Retiring {
			shown.Retiring = append(shown.Retiring, listed(change.Endpoint, k, now))
		}
		return writeJSON(s.out, shown)
	}
	s.printf("%s: key %s of scheme %s is %s\n", change.Endpoint, change.Key.ID, change.Key.Scheme, became(change, now))
	if public := change.Key.Public(); public != "" && !change.Key.Over(now) {
		s.printf("  public key: %s\n", public)
	}
	for _, k := range change.Retiring {
		s.printf("  key %s still signs beside it, until %s\n", k.ID, stamp(k.NotAfter))
	}
	for _, note := range change.Notes {
		s.printf("  %s\n", table.Clean(note))
	}
	return nil
}

// became says what a key is after a change.
func became(change operator.KeyChange, now time.Time) string {
	state := stateNow(change.Key, now)
	switch change.Kind {
	case operator.Created, operator.Imported, operator.Moved:
		return change.Kind + ", and " + state
	case operator.Unchanged:
		return state + " already"
	}
	return state + " now"
}

// listed is a key without its secret, with whether it signs.
func listed(to endpoint.Key, k signature.Key, now time.Time) shownKey {
	shown := show(to, k, false)
	signs := k.Signs(now)
	shown.Signs = &signs
	return shown
}

// schemeFlag names the scheme that a key belongs to.
type schemeFlag struct {
	Scheme string `help:"Scheme that the key belongs to, as in signature.schemes of the endpoint's document." placeholder:"SCHEME" required:""`
}

func (f schemeFlag) problems() []error {
	if _, ok := signature.Lookup(f.Scheme); !ok {
		return []error{fmt.Errorf("--scheme: %q is unknown; use one of %s", f.Scheme, strings.Join(signature.Schemes(), ", "))}
	}
	return nil
}

type keyCreateCommand struct {
	schemeFlag
	keyFlags

	Active bool `help:"Let it sign at once, beside the keys that sign already."`
}

// Help is the manual.
func (*keyCreateCommand) Help() string {
	return `Signers make the first keys of an endpoint by themselves; this makes one more. It waits as the next key: it can be given to
the receiver, and its public key is shown to all, before it signs anything. 'handfast key rotate' makes it active.

  handfast key create acme/orders --scheme v1
  handfast key show acme/orders --reveal            # what the receiver needs
  handfast key rotate acme/orders --scheme v1`
}

// Problems says everything that is wrong with the flags.
func (c *keyCreateCommand) Problems() []error { return append(c.Flags.Problems(), c.problems()...) }

// Run makes it.
func (c *keyCreateCommand) Run(ctx context.Context, s streams) error {
	return c.change(ctx, s, func(o *operator.Operator, vault signature.Vault) (operator.KeyChange, error) {
		return o.CreateKey(ctx, c.Endpoint.Key, c.Scheme, c.Active, vault)
	})
}

type keyRotateCommand struct {
	schemeFlag
	keyFlags

	Overlap time.Duration `default:"24h" help:"For how long the key that retires still signs, 1s to 2160h." placeholder:"DURATION"`
	Retire  string        `help:"The key that retires, when several are active." placeholder:"KEY"`
	Yes     bool          `help:"Do not ask where old and new key cannot sign side by side."`
}

// Help is the manual.
func (*keyRotateCommand) Help() string {
	return `The next key becomes active; when none waits, one is made. The old one retires: for the overlap both sign every request, so
that a receiver which knows only the old one, only the new one, or both, notices nothing. When the overlap is over the old one
stops by itself.

  handfast key rotate acme/orders --scheme v1
  handfast key rotate acme/orders --scheme v1a --overlap 168h

The formats of some providers (github, slack, shopify, twilio, and template without a separator) have room for one signature,
so that there is no overlap, which is asked about first: make the next key, and let the receiver accept it beside the old one. A key that somebody else knows is revoked after a rotation: 'handfast key revoke'.`
}

// longestOverlap is a generous quarter of a year.
const longestOverlap = 90 * 24 * time.Hour

// Problems says everything that is wrong with the flags.
func (c *keyRotateCommand) Problems() []error {
	all := append(c.Flags.Problems(), c.problems()...)
	if c.Overlap < time.Second || c.Overlap > longestOverlap {
		all = append(all, fmt.Errorf("--overlap: %s is not in 1s to 2160h; to stop a key at once, rotate and then revoke it", c.Overlap))
	}
	return all
}

// Run rotates.
func (c *keyRotateCommand) Run(ctx context.Context, s streams) error {
	return c.change(ctx, s, func(o *operator.Operator, vault signature.Vault) (operator.KeyChange, error) {
		alone, err := o.NoOverlap(ctx, c.Endpoint.Key, c.Scheme)
		if err != nil {
			return operator.KeyChange{}, err //nolint:wrapcheck // says what and where already
		}
		if alone != "" {
			if err := s.confirm(c.Yes, alone+" Rotate now?"); err != nil {
				return operator.KeyChange{}, err
			}
		}
		return o.RotateKey(ctx, c.Endpoint.Key, operator.KeyRotation{Scheme: c.Scheme, Overlap: c.Overlap, Retire: c.Retire}, vault)
	})
}

type keyRevokeCommand struct {
	keyFlags

	Key string `arg:"" help:"Id of the key, as 'handfast key list' shows it." placeholder:"KEY"`
	Yes bool   `help:"Do it without asking."`
}

// Help is the manual.
func (*keyRevokeCommand) Help() string {
	return `Every signer stops signing with it within a second, and it never comes back. The only active key of a scheme that the endpoint
uses is not revoked, because nothing could be sent then: rotate first.

  handfast key rotate acme/orders --scheme v1
  handfast key revoke acme/orders key_… --yes`
}

// Run revokes.
func (c *keyRevokeCommand) Run(ctx context.Context, s streams) error {
	return c.change(ctx, s, func(o *operator.Operator, vault signature.Vault) (operator.KeyChange, error) {
		ring, err := o.Keys(ctx, c.Endpoint.Key, vault)
		if err != nil {
			return operator.KeyChange{}, err //nolint:wrapcheck // says what and where already
		}
		// About one that is not there, or is revoked already, nobody has to be asked: what follows says so.
		if key, known := ring.Key(c.Key); known && key.State != signature.Revoked {
			if err := s.confirm(c.Yes, fmt.Sprintf("Revoke key %s of %s? It stops signing at once, and never comes back.", table.Clean(c.Key), c.Endpoint)); err != nil {
				return operator.KeyChange{}, err
			}
		}
		return o.RevokeKey(ctx, c.Endpoint.Key, c.Key, vault)
	})
}
