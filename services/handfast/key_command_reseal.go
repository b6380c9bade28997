package main

import (
	"context"
	"errors"
	"strings"

	"github.com/handfast/handfast/services/handfast/connection"
	"github.com/handfast/handfast/services/handfast/operator"
)

type keyResealCommand struct {
	masterFlags
	connection.Flags

	JSON bool `help:"Print one JSON object." name:"json"`
}

// Help is the manual.
func (*keyResealCommand) Help() string {
	return `To change the master key of the signing keys while everything runs:

  1. restart every signer with --master-key-file new.key --previous-master-key-file old.key
  2. handfast key reseal --master-key-file new.key --previous-master-key-file old.key
  3. restart every signer with --master-key-file new.key alone, and destroy old.key

Between the first and the last restart of step 1, keys that are made or changed open for the signers that have the new one
already, and those endpoints' deliveries go through these; no delivery is lost.

Wait with step 3 until deliveries that were taken on before step 1 have ended (the longest retry horizon of your endpoints):
what retries carries a seal of the signer that made it, and a signer without the old key lets it wait. Dead letters of before
are not delivered again without it, either.

It can be repeated, and goes on where it stopped.`
}

// Problems says everything that is wrong with the flags.
func (c *keyResealCommand) Problems() []error { return c.Flags.Problems() }

// Run seals everything again.
func (c *keyResealCommand) Run(ctx context.Context, s streams) error {
	vault, err := c.vault(ctx, ".handfast")
	if err != nil {
		return err
	}
	return operate(ctx, s, &c.Flags, "key", func(o *operator.Operator) error {
		result, err := o.ResealKeys(ctx, vault)
		if c.JSON {
			return errors.Join(err, writeJSON(s.out, result))
		}
		if len(result.Changed) > 0 {
			s.printf("sealed under the current master key now: %s\n", strings.Join(result.Changed, ", "))
		}
		s.printf("%s as they were\n", plural(result.Kept, "endpoint's keys stay", "endpoints' keys stay"))
		return err //nolint:wrapcheck // lists what could not be done
	})
}
