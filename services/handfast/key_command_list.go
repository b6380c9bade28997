package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/services/handfast/connection"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/services/handfast/table"
)

type keyListCommand struct {
	masterFlags
	connection.Flags

	Of   keyOwner `arg:"" optional:"" help:"Only of this tenant, or of this endpoint." placeholder:"TENANT[/NAME]"`
	JSON bool     `help:"Print one JSON object per key." name:"json"`
}

// Help is the manual.
func (*keyListCommand) Help() string {
	return `A key is next (known, does not sign yet), active (signs), retiring (signs until it ends), retired (its end has passed) or
revoked (never signs again). An active or retiring one of a scheme with which the endpoint does not sign is unused. No secret is shown. What is HELD sealed is in the bucket; in a token, it never leaves that.

  handfast key list
  handfast key list acme
  handfast key list acme/orders --json`
}

// keyOwner is TENANT or TENANT/NAME on the command line.
type keyOwner struct{ endpoint.Key }

// UnmarshalText reads it.
func (o *keyOwner) UnmarshalText(text []byte) error {
	tenant, name, both := strings.Cut(string(text), "/")
	if !both {
		name = "x" // only the tenant is checked
	}
	key, err := endpoint.ParseKey(tenant + "/" + name)
	if err != nil {
		return fmt.Errorf("%q is neither TENANT nor TENANT/NAME: %w", text, err)
	}
	if !both {
		key.Name = ""
	}
	o.Key = key
	return nil
}

// Run lists.
func (c *keyListCommand) Run(ctx context.Context, s streams) error {
	vault, err := c.vault(ctx, ".handfast")
	if err != nil {
		return err
	}
	return operate(ctx, s, &c.Flags, "key", func(o *operator.Operator) error {
		use, err := o.SchemeUse(ctx, c.Of.Key, time.Now())
		if err != nil {
			s.hintf("cannot tell which keys are unused: %v", err)
		}
		if c.Of.Name != "" {
			ring, err := o.Keys(ctx, c.Of.Key, vault)
			if err != nil {
				return err //nolint:wrapcheck // says what and what to do
			}
			return c.print(s, []operator.HeldKeys{{Endpoint: c.Of.Key, Ring: ring}}, use)
		}
		all, err := o.AllKeys(ctx, c.Of.Tenant, vault)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		return c.print(s, all, use)
	})
}

func (c *keyListCommand) print(s streams, all []operator.HeldKeys, use operator.SchemeUse) error {
	now := time.Now()
	t := newTable(table.Column{Name: "ENDPOINT", Least: leastName}, table.Column{Name: "ID", Whole: true}, table.Column{Name: "SCHEME", Whole: true, Line: 1},
		table.Column{Name: "STATE", Whole: true}, table.Column{Name: "CREATED", Whole: true, Short: shortStamp(now), Spare: true, Line: 1},
		table.Column{Name: "ENDS", Whole: true, Short: shortStamp(now), Line: 1}, table.Column{Name: "HELD", Whole: true, Line: 1})
	var closed []error
	weak := map[string]bool{}
	for _, held := range all {
		if held.Closed != nil {
			closed = append(closed, held.Closed)
			continue
		}
		for _, k := range held.Ring.Keys() {
			shown := listed(held.Endpoint, k, now).without(use.Uses(held.Endpoint, k.Scheme))
			weak[shown.Weak] = weak[shown.Weak] || *shown.Signs
			if c.JSON {
				if err := writeJSON(s.out, shown); err != nil {
					return err
				}
				continue
			}
			created := "-"
			if !shown.Created.IsZero() {
				created = stamp(shown.Created)
			}
			t.Row(shown.Endpoint, shown.ID, shown.Scheme, shown.state(k, now), created, shown.ends(), heldWhere(k))
		}
	}
	if len(all) == 0 {
		s.hintf("there are no signing keys; a signer makes them for each endpoint, and `handfast key create` or `import` before")
	}
	if !c.JSON {
		if err := t.Write(s.out); err != nil {
			return err //nolint:wrapcheck // says what already
		}
		for words, signs := range weak {
			if words != "" && signs {
				s.hintf("warning: %s", words)
			}
		}
	}
	return errors.Join(closed...)
}

// without takes signing away from a key whose scheme the endpoint does not use.
func (k shownKey) without(used bool) shownKey {
	if !used {
		k.Unused = k.Signs != nil && *k.Signs
		signs := false
		k.Signs = &signs
	}
	return k
}

// state is the state for people.
func (k shownKey) state(of signature.Key, now time.Time) string {
	if k.Unused {
		return "unused"
	}
	return stateNow(of, now)
}

// heldWhere says whether the private part is sealed in the bucket, or stays in a token.
func heldWhere(k signature.Key) string {
	if k.Custody() != "" {
		return "token"
	}
	return "sealed"
}
