package main

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/services/handfast/connection"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/services/handfast/table"
)

type identityListCommand struct {
	connection.Flags

	JSON bool `help:"Print one JSON object with all identities and authorities." name:"json"`
}

// shownIdentity is an identity as --json prints it.
type shownIdentity struct {
	Identity identity.Record    `json:"identity"`
	Uses     []operator.Use     `json:"uses"`
	Warnings []identity.Warning `json:"warnings"`
}

func showIdentity(v *operator.Inventory, record identity.Record) shownIdentity {
	return shownIdentity{Identity: record, Uses: v.Uses(record.Name), Warnings: append([]identity.Warning{}, record.Warnings(time.Now())...)}
}

// Run prints two tables.
func (c *identityListCommand) Run(ctx context.Context, s streams) error {
	return wallet(ctx, s, &c.Flags, "identity", func(_ *operator.Operator, w *operator.Wallet) error {
		v, err := w.Inventory(ctx)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		if err := c.print(s, v); err != nil {
			return err
		}
		return errors.Join(v.Unreadable...)
	})
}

func (c *identityListCommand) print(s streams, v *operator.Inventory) error {
	if c.JSON {
		all := make([]shownIdentity, len(v.Identities))
		for i, record := range v.Identities {
			all[i] = showIdentity(v, record)
		}
		return writeJSON(s.out, map[string]any{"identities": all, "authorities": append([]identity.Authority{}, v.Authorities...)})
	}
	if len(v.Identities) == 0 {
		s.hintf("no identity is stored; `handfast identity create NAME --san NAME` makes one; those that dispatchers are given with --identity are not listed here")
	} else {
		if err := identityTable(v).Write(s.out); err != nil {
			return err //nolint:wrapcheck // says what already
		}
	}
	for _, record := range v.Identities {
		if record.State != identity.Retired {
			s.warn(prefixed(record.Name, record.Warnings(time.Now())))
		}
	}
	if len(v.Authorities) == 0 {
		return nil
	}
	s.printf("\n")
	return printAuthorities(s, v)
}

func identityTable(v *operator.Inventory) *table.Table {
	t := newTable(table.Column{Name: "IDENTITY", Least: leastName}, table.Column{Name: "ORIGIN", Whole: true, Line: 1}, table.Column{Name: "STATE", Whole: true},
		table.Column{Name: "PRESENTED", Least: leastText, Line: 1}, table.Column{Name: "SAN", Give: true, Least: leastText, Line: 2},
		table.Column{Name: "EXPIRES", Whole: true}, table.Column{Name: "RENEWS", Whole: true, Line: 1})
	for _, record := range v.Identities {
		t.Row(record.Name, record.Origin.String(), record.State.String(), usesWords(v.Uses(record.Name)), strings.Join(record.Profile.Names(), " "), expiry(record), date(record.RenewAt()))
	}
	return t
}

func authorityTable(v *operator.Inventory) *table.Table {
	t := newTable(table.Column{Name: "AUTHORITY", Least: leastName}, table.Column{Name: "STATE", Whole: true}, table.Column{Name: "RENEWS"},
		table.Column{Name: "EXPIRES", Whole: true}, table.Column{Name: "SHA-256", Give: true, Least: leastText, Line: 1})
	for _, a := range v.Authorities {
		t.Row(a.Name, a.State.String(), strconv.Itoa(len(v.IssuedBy(a.Name))), date(a.Certificate().NotAfter), a.Fingerprint())
	}
	return t
}

func printAuthorities(s streams, v *operator.Inventory) error {
	if err := authorityTable(v).Write(s.out); err != nil {
		return err //nolint:wrapcheck // says what already
	}
	for _, a := range v.Authorities {
		s.warn(a.Warnings(time.Now()))
	}
	return nil
}

func prefixed(name string, warnings []identity.Warning) []identity.Warning {
	all := make([]identity.Warning, len(warnings))
	for i, w := range warnings {
		all[i] = identity.Warning{Kind: w.Kind, Text: name + ": " + w.Text}
	}
	return all
}

func usesWords(uses []operator.Use) string {
	words := make([]string, len(uses))
	for i, u := range uses {
		words[i] = u.String()
	}
	return strings.Join(words, "; ")
}

func expiry(record identity.Record) string {
	if leaf := record.Leaf(); leaf != nil {
		return date(leaf.NotAfter)
	}
	return ""
}

// date is a day as a table shows it, with its minute when that is near; nothing for no time.
func date(t time.Time) string {
	const near = 48 * time.Hour
	switch away := time.Until(t).Abs(); {
	case t.IsZero():
		return ""
	case away < near:
		return t.UTC().Format("2006-01-02 15:04")
	}
	return t.UTC().Format(time.DateOnly)
}

type identityShowCommand struct {
	connection.Flags

	Name string `arg:"" help:"Name of the identity." placeholder:"NAME"`
	JSON bool   `help:"Print one JSON object, with the certificates in it." name:"json"`
}

// Problems says everything that is wrong with the flags.
func (c *identityShowCommand) Problems() []error {
	all := c.Flags.Problems()
	if err := identity.CheckName(c.Name); err != nil {
		all = append(all, err)
	}
	return all
}

// Run prints it.
func (c *identityShowCommand) Run(ctx context.Context, s streams) error {
	return wallet(ctx, s, &c.Flags, "identity", func(_ *operator.Operator, w *operator.Wallet) error {
		record, err := w.Identity(ctx, c.Name)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		v, err := w.Inventory(ctx)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		for _, unreadable := range v.Unreadable {
			s.hintf("not counted: %v", unreadable)
		}
		shown := showIdentity(v, record)
		if c.JSON {
			return writeJSON(s.out, shown)
		}
		printIdentity(s, shown)
		return nil
	})
}

func printIdentity(s streams, shown shownIdentity) {
	r := shown.Identity
	s.field("", "identity", r.Name)
	s.field("", "state", r.State.String())
	origin := r.Origin.String()
	if r.Authority != "" {
		origin += " " + r.Authority
	}
	s.field("", "origin", origin)
	for _, name := range r.Profile.Names() {
		s.field("", "SAN", name)
	}
	if leaf := r.Leaf(); leaf != nil {
		s.field("", "subject", leaf.Subject.String())
		s.field("", "issuer", leaf.Issuer.String())
		s.field("", "SHA-256", r.Fingerprint())
		s.field("", "valid", stamp(leaf.NotBefore)+" to "+stamp(leaf.NotAfter))
	}
	moments := []struct {
		name string
		at   time.Time
	}{{"renews", r.RenewAt()}, {"created", r.Created}, {"installed", r.Installed}, {"requested", r.Requested}, {"retired", r.Retired}}
	for _, m := range moments {
		if !m.at.IsZero() {
			s.field("", m.name, stamp(m.at))
		}
	}
	if r.RequestPEM() != "" {
		s.printf("\na request waits for its certificate; `handfast identity csr %s` prints it again\n", r.Name)
	}
	if len(shown.Uses) == 0 {
		s.printf("\npresented to nobody\n")
	}
	for _, u := range shown.Uses {
		s.printf("\npresented %s\n", u)
		for _, name := range u.Endpoints {
			s.printf("  %s\n", name)
		}
		if u.Next {
			s.printf("  `handfast rotate status %s` shows how far the rotation is\n", u.Name)
		}
	}
	for i, warning := range shown.Warnings {
		if i == 0 {
			s.printf("\n")
		}
		s.printf("warning: %s\n", table.Clean(warning.Text))
	}
}

type identityCACommand struct {
	connection.Flags

	JSON bool `help:"Print one JSON object with the bundle and each authority." name:"json"`
}

// Help is the manual.
func (*identityCACommand) Help() string {
	return `It prints the root of each authority that has not retired, as PEM. Receivers trust all of them: that is how the root is
rotated, too. A dispatcher serves the same at /ca.pem.

  handfast identity ca > handfast-ca.pem

To rotate the root:

  handfast identity authority create next-ca
  handfast identity create default-2 --authority next-ca --san spiffe://example.com/handfast
  handfast identity ca > handfast-ca.pem                    # now with both roots; give it to receivers
  handfast identity rotate default --to default-2 --follow`
}

// Run prints the bundle.
func (c *identityCACommand) Run(ctx context.Context, s streams) error {
	return wallet(ctx, s, &c.Flags, "identity", func(_ *operator.Operator, w *operator.Wallet) error {
		all, err := w.Authorities(ctx)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		bundle := identity.Bundle(all)
		if c.JSON {
			return writeJSON(s.out, map[string]any{"bundle": string(bundle), "authorities": all})
		}
		if len(bundle) == 0 {
			return errors.New("every authority of our own has retired; `handfast identity authority create NAME` makes one")
		}
		s.printf("%s", bundle)
		return nil
	})
}
