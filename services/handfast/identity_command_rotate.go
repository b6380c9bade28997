package main

import (
	"context"
	"fmt"

	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/seal"
	"github.com/handfast/handfast/services/handfast/connection"
	"github.com/handfast/handfast/services/handfast/operator"
)

type identityRotateCommand struct {
	identityKeyFlags
	personFlags
	connection.Flags

	Name     string `arg:"" help:"Name that endpoints write as tls.identity." placeholder:"NAME"`
	To       string `help:"The identity that it shall stand for." placeholder:"NEXT" required:""`
	External bool   `help:"NEXT is not stored: every dispatcher is given it with --identity, in files or in a token."`
	Follow   bool   `help:"Show how far it is until it has ended. Ctrl-C stops the showing, not the rotation." short:"f"`
	JSON     bool   `help:"Print one JSON object, or with --follow one per change." name:"json"`
}

// Help is the manual.
func (*identityRotateCommand) Help() string {
	return `Dispatchers show NEXT to every endpoint of NAME, in the background. Each endpoint that accepts it is presented NEXT from
then on; one that refuses keeps the identity that it knows. When every endpoint has accepted, NAME stands for NEXT, and the
one before can be retired. No delivery waits for any of that.

  handfast identity create default-2 --san spiffe://example.com/handfast
  handfast identity rotate default --to default-2 --follow
  handfast rotate status default                      # who has not accepted, why, and what to do
  handfast identity retire default --yes              # in the end`
}

// Problems says everything that is wrong with the flags.
func (c *identityRotateCommand) Problems() []error {
	all := c.Flags.Problems()
	if err := identity.CheckName(c.Name); err != nil {
		all = append(all, err)
	}
	if err := identity.CheckName(c.To); err != nil {
		all = append(all, fmt.Errorf("--to: %w", err))
	}
	if c.External {
		return all
	}
	return append(all, c.problems()...)
}

// Run starts the rotation, and shows how it goes on.
func (c *identityRotateCommand) Run(ctx context.Context, s streams) error {
	var vault seal.Vault
	if !c.External {
		var err error
		if vault, err = c.vault(ctx); err != nil {
			return err
		}
	}
	return wallet(ctx, s, &c.Flags, "identity", func(_ *operator.Operator, w *operator.Wallet) error {
		started, err := w.StartRotation(ctx, c.Name, c.To, c.person(), c.External, vault)
		if err != nil {
			return fmt.Errorf("nothing was changed:\n  %w", err)
		}
		if c.Follow {
			return followRotation(ctx, s, w, c.Name, c.JSON)
		}
		if c.JSON {
			return writeJSON(s.out, started)
		}
		s.printf("%s: rotating %s → %s\n", c.Name, started.Uses, c.To)
		s.printf("  endpoints change over as each accepts it; `handfast rotate status %s --follow` shows how far it is\n", c.Name)
		return nil
	})
}

type identityRetireCommand struct {
	connection.Flags

	Name string `arg:"" help:"Name of the identity." placeholder:"NAME"`
	Yes  bool   `help:"Do not ask."`
	JSON bool   `help:"Print one JSON object." name:"json"`
}

// Help is the manual.
func (*identityRetireCommand) Help() string {
	return `Its key is destroyed, and no dispatcher presents it any more. That cannot be undone, so it is refused while an endpoint is
presented it, a name stands for it, or a rotation leads to it. The record stays, so that old receipts can be read.`
}

// Problems says everything that is wrong with the flags.
func (c *identityRetireCommand) Problems() []error {
	all := c.Flags.Problems()
	if err := identity.CheckName(c.Name); err != nil {
		all = append(all, err)
	}
	return all
}

// Run asks and retires.
func (c *identityRetireCommand) Run(ctx context.Context, s streams) error {
	return wallet(ctx, s, &c.Flags, "identity", func(_ *operator.Operator, w *operator.Wallet) error {
		record, err := w.Retirable(ctx, c.Name)
		if err != nil {
			return err //nolint:wrapcheck // says who still needs it
		}
		if record.State != identity.Retired { // else it is refused, and there is nothing to ask
			if err := s.confirm(c.Yes, fmt.Sprintf("Destroy the key of identity %s for ever?", c.Name)); err != nil {
				return err
			}
		}
		change, err := w.Retire(ctx, c.Name)
		if err != nil {
			return err //nolint:wrapcheck // says who still needs it
		}
		return tellIdentity(s, c.JSON, change)
	})
}
