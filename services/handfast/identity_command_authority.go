package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/services/handfast/connection"
	"github.com/handfast/handfast/services/handfast/operator"
)

type identityAuthorityCommand struct {
	Create authorityCreateCommand `cmd:"" help:"Make an authority."`
	List   authorityListCommand   `cmd:"" help:"List the authorities, or show one."`
	Retire authorityRetireCommand `cmd:"" help:"Let an authority issue nothing new, and end it when nothing of it is left."`
}

type authorityCreateCommand struct {
	identityKeyFlags
	connection.Flags

	Name       string        `arg:"" help:"Name of the authority." placeholder:"NAME"`
	CommonName string        `help:"Common name in its root; without it, Handfast and its name." placeholder:"NAME"`
	Lifetime   time.Duration `default:"87600h" help:"How long its root is valid." placeholder:"DURATION"`
	JSON       bool          `help:"Print one JSON object." name:"json"`
}

// Problems says everything that is wrong with the flags.
func (c *authorityCreateCommand) Problems() []error {
	all := append(c.Flags.Problems(), c.problems()...)
	return append(all, operator.CheckAuthority(c.Name, c.CommonName, c.Lifetime)...)
}

// Run makes it.
func (c *authorityCreateCommand) Run(ctx context.Context, s streams) error {
	vault, err := c.vault(ctx)
	if err != nil {
		return err
	}
	return wallet(ctx, s, &c.Flags, "identity", func(_ *operator.Operator, w *operator.Wallet) error {
		change, err := w.CreateAuthority(ctx, c.Name, c.CommonName, c.Lifetime, vault)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		return tellIdentity(s, c.JSON, change)
	})
}

type authorityListCommand struct {
	connection.Flags

	Name string `arg:"" help:"Only this authority, with what it renews." optional:"" placeholder:"NAME"`
	JSON bool   `help:"Print one JSON object per authority." name:"json"`
}

// Run prints a table.
func (c *authorityListCommand) Run(ctx context.Context, s streams) error {
	return wallet(ctx, s, &c.Flags, "identity", func(_ *operator.Operator, w *operator.Wallet) error {
		v, err := w.Inventory(ctx)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		if c.Name != "" {
			// It says which there are when there is none of this name.
			if _, err := w.Issued(ctx, c.Name); err != nil {
				return err //nolint:wrapcheck // says what and what to do
			}
			v.Authorities = slices.DeleteFunc(v.Authorities, func(a identity.Authority) bool { return a.Name != c.Name })
		}
		if len(v.Authorities) == 0 {
			s.hintf("there is no authority of our own; `handfast identity create` makes one with the first identity")
			return nil
		}
		if c.JSON {
			for _, a := range v.Authorities {
				if err := writeJSON(s.out, map[string]any{"authority": a, "renews": v.IssuedBy(a.Name), "warnings": a.Warnings(time.Now())}); err != nil {
					return err
				}
			}
			return nil
		}
		if err := printAuthorities(s, v); err != nil {
			return err
		}
		if c.Name != "" {
			for _, name := range v.IssuedBy(c.Name) {
				s.printf("  renews %s\n", name)
			}
		}
		return nil
	})
}

type authorityRetireCommand struct {
	connection.Flags

	Name  string `arg:"" help:"Name of the authority." placeholder:"NAME"`
	Final bool   `help:"Destroy its key, so that receivers need no longer trust it. It is refused while it renews anything." xor:"way"`
	Undo  bool   `help:"Let it issue again; not possible after --final." xor:"way"`
	Yes   bool   `help:"Do not ask."`
	JSON  bool   `help:"Print one JSON object." name:"json"`
}

// Help is the manual.
func (*authorityRetireCommand) Help() string {
	return `A retiring authority renews what it has issued, and issues for no new identity; receivers still have to trust it. When
its identities have been rotated away from and retired, --final destroys its key and takes its root out of
'handfast identity ca'.

  handfast identity authority retire main
  handfast identity authority retire main --final --yes`
}

// Problems says everything that is wrong with the flags.
func (c *authorityRetireCommand) Problems() []error {
	all := c.Flags.Problems()
	if err := identity.CheckName(c.Name); err != nil {
		all = append(all, err)
	}
	return all
}

// Run asks where that cannot be undone, and changes its state.
func (c *authorityRetireCommand) Run(ctx context.Context, s streams) error {
	return wallet(ctx, s, &c.Flags, "identity", func(_ *operator.Operator, w *operator.Wallet) error {
		if c.Undo {
			change, err := w.ReviveAuthority(ctx, c.Name)
			if err != nil {
				return err //nolint:wrapcheck // says what and why
			}
			return tellIdentity(s, c.JSON, change)
		}
		if c.Final {
			issued, err := w.Issued(ctx, c.Name)
			if err != nil {
				return err //nolint:wrapcheck // says what and what to do
			}
			if len(issued) == 0 { // else it is refused, and there is nothing to ask
				if err := s.confirm(c.Yes, fmt.Sprintf("Destroy the key of authority %s for ever?", c.Name)); err != nil {
					return err
				}
			}
		}
		change, err := w.RetireAuthority(ctx, c.Name, c.Final)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		return tellIdentity(s, c.JSON, change)
	})
}
