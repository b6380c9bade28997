package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/services/handfast/connection"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/services/handfast/table"
)

type keyCommand struct {
	List   keyListCommand   `cmd:"" help:"List signing keys, with their states and dates."`
	Show   keyShowCommand   `cmd:"" help:"Show an endpoint's signing keys: what its receiver needs."`
	Create keyCreateCommand `cmd:"" help:"Make a key: the first of its scheme, or the next one for a rotation."`
	Import keyImportCommand `cmd:"" help:"Take a secret that a receiver has already."`
	Rotate keyRotateCommand `cmd:"" help:"Put the next key in the place of the active one, which still signs for a while."`
	Revoke keyRevokeCommand `cmd:"" help:"End a key for good, at once."`
	Reseal keyResealCommand `cmd:"" help:"Seal every endpoint's keys under another master key."`
	Master keyMasterCommand `cmd:"" help:"Look after master keys."`
}

// masterFlags say which master key opens the signing keys.
type masterFlags struct {
	MasterKeyFile         string   `env:"HANDFAST_MASTER_KEY_FILE" help:"File with the master key that the signers use; without it, ./.handfast/master.key of 'handfast dev' when it exists." placeholder:"FILE"`
	MasterKeyKMS          string   `env:"HANDFAST_MASTER_KEY_KMS" help:"KMS that has wrapped the master key in that file." name:"master-key-kms" placeholder:"URL"`
	PreviousMasterKeyFile []string `env:"HANDFAST_PREVIOUS_MASTER_KEY_FILE" help:"File with a master key of before, which only opens; repeat it for several." placeholder:"FILE"`
}

// vault opens. dir is where development keeps its own.
func (f masterFlags) vault(ctx context.Context, dir string) (signature.Vault, error) {
	name := f.MasterKeyFile
	if name == "" {
		name = filepath.Join(dir, "master.key")
		if _, err := os.Stat(name); err != nil {
			return signature.Vault{}, errors.New("signing keys are sealed, and no master key was given to open them; name its file with --master-key-file or HANDFAST_MASTER_KEY_FILE")
		}
	}
	chain, err := keySource{flag: "master-key", file: name, kms: f.MasterKeyKMS, previous: f.PreviousMasterKeyFile}.read()
	if err != nil {
		return signature.Vault{}, err
	}
	vault, err := chain.open(ctx)
	return signature.Vault(vault), err
}

type keyShowCommand struct {
	masterFlags
	connection.Flags

	Endpoint endpointName `arg:"" help:"The endpoint." placeholder:"TENANT/NAME"`
	Reveal   bool         `help:"Show shared secrets, too. Whoever sees one can sign in our name."`
	JSON     bool         `help:"Print one JSON object per key." name:"json"`
}

// Help is the manual.
func (*keyShowCommand) Help() string {
	return `A receiver verifies with whpk_… (scheme v1a, a public key), or with whsec_… (scheme v1, a secret that both sides share), by any
library of Standard Webhooks; other schemes write theirs in other forms. Every active or retiring key signs each request, so one of them is enough. What is revoked or
has retired is not shown; 'handfast key list' lists it.

  handfast key show acme/orders             # public keys
  handfast key show acme/orders --reveal    # and the secrets, for the receiver's configuration`
}

// shownKey is a key as --json prints it.
type shownKey struct {
	Endpoint string     `json:"endpoint"`
	ID       string     `json:"id"`
	Scheme   string     `json:"scheme"`
	State    string     `json:"state"`
	Created  time.Time  `json:"created,omitzero"`
	NotAfter *time.Time `json:"not_after,omitempty"`
	Public   string     `json:"public,omitempty"`
	// Custody is where the private key is that is not sealed in the bucket.
	Custody string `json:"custody,omitempty"`
	Secret  string `json:"secret,omitempty"`
	// Signs tells whether it signs now; absent where only what the receiver needs is shown.
	Signs *bool `json:"signs,omitempty"`
	// Unused tells that it would sign if the endpoint used its scheme.
	Unused bool `json:"unused,omitempty"`
	// Weak says what is known against the scheme.
	Weak string `json:"weak,omitempty"`
}

// ends is the end of a key for people.
func (k shownKey) ends() string {
	if k.NotAfter == nil {
		return "-"
	}
	return stamp(*k.NotAfter)
}

// stateNow is the state for people: a retiring key has retired by itself when its time is over.
func stateNow(k signature.Key, now time.Time) string {
	if k.State != signature.Revoked && k.Ended(now) {
		return "retired"
	}
	return k.State.String()
}

func show(to endpoint.Key, k signature.Key, reveal bool) shownKey {
	shown := shownKey{Endpoint: to.String(), ID: k.ID, Scheme: k.Scheme, State: k.State.String(), Created: k.Created.UTC(), Public: k.Public(), Custody: k.Custody(), Weak: signature.Weak(k.Scheme)}
	if !k.NotAfter.IsZero() {
		end := k.NotAfter.UTC()
		shown.NotAfter = &end
	}
	if reveal && shown.Public == "" {
		// Of a key pair the receiver needs the public half, and nobody the other.
		shown.Secret = k.Reveal()
	}
	return shown
}

// Run opens and prints.
func (c *keyShowCommand) Run(ctx context.Context, s streams) error {
	vault, err := c.vault(ctx, ".handfast")
	if err != nil {
		return err
	}
	return operate(ctx, s, &c.Flags, "key", func(o *operator.Operator) error {
		ring, err := o.Keys(ctx, c.Endpoint.Key, vault)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		kept, now := 0, time.Now()
		t := newTable(table.Column{Name: "ID", Whole: true}, table.Column{Name: "SCHEME", Whole: true}, table.Column{Name: "STATE", Whole: true},
			table.Column{Name: "CREATED", Whole: true, Short: shortStamp(now)}, table.Column{Name: "KEY", Whole: true, Line: 1})
		for _, k := range ring.Keys() {
			if k.Over(now) {
				continue // a receiver must not accept it
			}
			shown := show(c.Endpoint.Key, k, c.Reveal)
			if c.JSON {
				if err := writeJSON(s.out, shown); err != nil {
					return err
				}
				continue
			}
			text := shown.Public + shown.Secret
			if text == "" {
				text = hidden(k.Scheme)
				kept++
			}
			t.Row(shown.ID, shown.Scheme, shown.State, stamp(shown.Created), text)
		}
		if c.JSON {
			return nil
		}
		if kept > 0 {
			defer s.hintf("--reveal shows what is hidden: whoever sees it can sign in our name.")
		}
		return t.Write(s.out) //nolint:wrapcheck // says what already
	})
}

// hidden stands for a shared secret, in the form of its scheme.
func hidden(scheme string) string { return signature.SecretForm(scheme) + " (hidden)" }
