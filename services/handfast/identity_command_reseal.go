package main

import (
	"context"
	"errors"
	"strings"

	"github.com/handfast/handfast/services/handfast/connection"
	"github.com/handfast/handfast/services/handfast/operator"
)

type identityResealCommand struct {
	identityKeyFlags
	connection.Flags

	JSON bool `help:"Print one JSON object." name:"json"`
}

// Help is the manual.
func (*identityResealCommand) Help() string {
	return `To change the master key of stored identities without a moment in which nobody can open them:

  1. restart every dispatcher with --identity-key-file new.key --previous-identity-key-file old.key
  2. handfast identity reseal --identity-key-file new.key --previous-identity-key-file old.key
  3. restart every dispatcher with --identity-key-file new.key alone, and destroy old.key

It can be repeated, and goes on where it stopped.`
}

// Problems says everything that is wrong with the flags.
func (c *identityResealCommand) Problems() []error {
	return append(c.Flags.Problems(), c.problems()...)
}

// Run seals everything again.
func (c *identityResealCommand) Run(ctx context.Context, s streams) error {
	vault, err := c.vault(ctx)
	if err != nil {
		return err
	}
	return wallet(ctx, s, &c.Flags, "identity", func(_ *operator.Operator, w *operator.Wallet) error {
		result, err := w.Reseal(ctx, vault)
		if c.JSON {
			return errors.Join(err, writeJSON(s.out, result))
		}
		if len(result.Changed) > 0 {
			s.printf("sealed under the current master key now: %s\n", strings.Join(result.Changed, ", "))
		}
		s.printf("%s as they were\n", plural(result.Kept, "entry stays", "entries stay"))
		return err //nolint:wrapcheck // lists what could not be done
	})
}
