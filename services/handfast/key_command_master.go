package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"github.com/handfast/handfast/pkg/seal"
	"github.com/handfast/handfast/pkg/seal/kms"
)

type keyMasterCommand struct {
	Create keyMasterCreateCommand `cmd:"" help:"Make a master key that a key management service keeps closed."`
}

type keyMasterCreateCommand struct {
	KMS     string `help:"Key that closes it: awskms://…, gcpkms://…, azurekeyvault://… or hashivault://…" name:"kms" placeholder:"URL" required:""`
	Out     string `help:"File for the wrapped key; it must not exist yet." placeholder:"FILE" required:""`
	From    string `help:"Wrap this master key in place of a new one." placeholder:"FILE"`
	FromKMS string `help:"The KMS that has wrapped the key in --from." name:"from-kms" placeholder:"URL"`
	JSON    bool   `help:"Print one JSON object." name:"json"`
}

// Help is the manual.
func (*keyMasterCreateCommand) Help() string {
	return `The master key is 32 random bytes. What is written is that key as the KMS has encrypted it; the key itself is never on a
disk. Services ask the KMS once, when they start, and no signature waits for it. Credentials come from where each KMS's own
tools read them (roles, AWS_…, GOOGLE_APPLICATION_CREDENTIALS, AZURE_…, VAULT_ADDR and VAULT_TOKEN).

  handfast key master create --kms 'awskms:///alias/handfast?region=eu-central-1' --out master.wrapped
  handfast signer --master-key-file master.wrapped --master-key-kms 'awskms:///alias/handfast?region=eu-central-1'

It serves for stored identities as well (--identity-key-file, --identity-key-kms); make another one for them.

A master key that is in use can be wrapped, and changed over to another KMS. It stays the same key, so nothing is sealed again:

  handfast key master create --kms URL --from master.key --out master.wrapped        # and destroy master.key
  handfast key master create --kms NEW --from old.wrapped --from-kms OLD --out new.wrapped

Whoever has lost the KMS's key has lost everything that is sealed: keep it from being deleted.`
}

// Problems says everything that is wrong with the flags.
func (c *keyMasterCreateCommand) Problems() []error {
	var all []error
	if err := kms.Check(c.KMS); err != nil {
		all = append(all, fmt.Errorf("--kms: %w", err))
	}
	if _, err := os.Lstat(c.Out); err == nil {
		all = append(all, fmt.Errorf("--out: %s exists, and a key is never written over another; name a new file", c.Out))
	}
	switch {
	case c.From != "":
		if _, err := c.source().read(); err != nil {
			all = append(all, err)
		}
	case c.FromKMS != "":
		all = append(all, errors.New("--from-kms: needs --from, the file with the wrapped key"))
	}
	return all
}

func (c *keyMasterCreateCommand) source() keySource {
	return keySource{flag: "from", file: c.From, kms: c.FromKMS}
}

// Run makes, wraps, tries and writes.
func (c *keyMasterCreateCommand) Run(ctx context.Context, s streams) error {
	key, err := c.key(ctx)
	if err != nil {
		return err
	}
	keeper, err := kms.Open(ctx, c.KMS)
	if err != nil {
		return fmt.Errorf("--kms: %w", err)
	}
	defer keeper.Close() //nolint:errcheck // it has been asked what there was to ask
	text, err := key.Wrap(ctx, keeper)
	if err != nil {
		return fmt.Errorf("--kms: %w", err)
	}
	// One that cannot be unwrapped would be found out when it is too late.
	wrapped, err := seal.ParseWrapped(text)
	if err == nil {
		_, err = wrapped.Open(ctx, keeper)
	}
	if err != nil {
		return fmt.Errorf("--kms: it wraps the key, and then does not open it, so nothing is written: %w", err)
	}
	if err := writeNew(c.Out, text); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	if c.JSON {
		return writeJSON(s.out, struct {
			MasterKey string `json:"master_key"`
			File      string `json:"file"`
		}{key.ID(), c.Out})
	}
	s.printf("master key %s, wrapped, is in %s\n", key.ID(), c.Out)
	s.printf("  keep a copy of the file: without it, or without the KMS's key, nothing that it seals can be opened\n")
	return nil
}

func (c *keyMasterCreateCommand) key(ctx context.Context) (seal.MasterKey, error) {
	if c.From == "" {
		return seal.GenerateMasterKey(rand.Reader) //nolint:wrapcheck // says what already
	}
	chain, err := c.source().read()
	if err != nil {
		return seal.MasterKey{}, err
	}
	vault, err := chain.open(ctx)
	return vault.Current, err
}

// writeNew writes a file that only its owner reads, and never over another one.
func writeNew(name string, content []byte) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator names it
	if err != nil {
		return fmt.Errorf("write the file: %w", err)
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, errors.Join(err, os.Remove(name)))
	}
	return nil
}
