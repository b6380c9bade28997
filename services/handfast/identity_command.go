package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/seal"
	"github.com/handfast/handfast/services/handfast/connection"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/services/handfast/table"
)

type identityCommand struct {
	Create    identityCreateCommand    `cmd:"" help:"Make an identity that an authority of our own issues and renews."`
	Import    identityImportCommand    `cmd:"" help:"Take a certificate with its key from elsewhere."`
	CSR       identityCSRCommand       `cmd:"" help:"Make a key that never leaves, and a request that a receiver's CA signs." name:"csr"`
	Install   identityInstallCommand   `cmd:"" help:"Take the certificate that a CA returned for a request."`
	List      identityListCommand      `cmd:"" help:"List the identities and the authorities."`
	Show      identityShowCommand      `cmd:"" help:"Show one identity, and who is presented it."`
	CA        identityCACommand        `cmd:"" help:"Print the roots that receivers trust." name:"ca"`
	Authority identityAuthorityCommand `cmd:"" help:"Look after the authorities of our own."`
	Rotate    identityRotateCommand    `cmd:"" help:"Move endpoints to another identity, each when it has proved that it accepts it."`
	Reseal    identityResealCommand    `cmd:"" help:"Seal every stored key under another master key."`
	Retire    identityRetireCommand    `cmd:"" help:"End an identity that nobody is presented any more."`
}

// identityKeyFlags say which master key seals and opens identities.
type identityKeyFlags struct {
	IdentityKeyFile         string   `env:"HANDFAST_IDENTITY_KEY_FILE" help:"File with the master key that the dispatchers use for stored identities; without it, ./.handfast/identity.key of 'handfast dev' when it exists." placeholder:"FILE"`
	IdentityKeyKMS          string   `env:"HANDFAST_IDENTITY_KEY_KMS" help:"KMS that has wrapped the master key in that file." name:"identity-key-kms" placeholder:"URL"`
	PreviousIdentityKeyFile []string `env:"HANDFAST_PREVIOUS_IDENTITY_KEY_FILE" help:"File with a master key that was in use before, and still opens; repeat it for several." placeholder:"FILE"`
}

// file is the one that was named, or that of development; empty when there is neither.
func (f identityKeyFlags) file() string {
	if f.IdentityKeyFile != "" {
		return f.IdentityKeyFile
	}
	name := filepath.Join(".handfast", "identity.key")
	if _, err := os.Stat(name); err != nil {
		return ""
	}
	return name
}

// keys reads, and leaves what a KMS has wrapped closed. The error begins with the flag.
func (f identityKeyFlags) keys() (keyChain, error) {
	name := f.file()
	if name == "" {
		return keyChain{}, errors.New("--identity-key-file: is needed: the file with the master key that the dispatchers use, 32 bytes in hex or base64; `openssl rand -hex 32` makes one, for them and for you")
	}
	return keySource{flag: "identity-key", file: name, kms: f.IdentityKeyKMS, previous: f.PreviousIdentityKeyFile}.read()
}

// vault opens. The error begins with the flag.
func (f identityKeyFlags) vault(ctx context.Context) (seal.Vault, error) {
	keys, err := f.keys()
	if err != nil {
		return seal.Vault{}, err
	}
	return keys.open(ctx)
}

// problems says what is wrong with the key.
func (f identityKeyFlags) problems() []error {
	if _, err := f.keys(); err != nil {
		return []error{err}
	}
	return nil
}

// personFlags say who acts, for the record.
type personFlags struct {
	By string `env:"HANDFAST_OPERATOR" help:"Who does this, for the record; without it, the name of this machine's user." placeholder:"NAME"`
}

func (f personFlags) person() string {
	current, err := user.Current()
	if err != nil {
		return cmp.Or(f.By, "operator")
	}
	return cmp.Or(f.By, current.Username, "operator")
}

// wallet runs one command on the bucket of identities.
func wallet(ctx context.Context, s streams, flags *connection.Flags, name string, do func(*operator.Operator, *operator.Wallet) error) error {
	return operate(ctx, s, flags, name, func(o *operator.Operator) error {
		w, err := o.Wallet(ctx)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		return refusal(do(o, w))
	})
}

// refusal puts the problems of a refusal on lines of their own.
func refusal(err error) error {
	refused, ok := errors.AsType[*identity.RefusedError](err)
	if !ok || len(refused.Problems) < 2 || err.Error() != refused.Error() {
		return err
	}
	return fmt.Errorf("%s cannot be %s:\n  %s", refused.What, refused.Act, strings.Join(refused.Problems, "\n  "))
}

// tellIdentity prints what changed.
func tellIdentity(s streams, asJSON bool, change operator.IdentityChange) error {
	if asJSON {
		return writeJSON(s.out, change)
	}
	s.printf("%s %s %s\n", change.What, change.Name, change.Kind)
	for _, note := range change.Notes {
		s.printf("  %s\n", table.Clean(note))
	}
	s.warn(change.Warnings)
	return nil
}

func (s streams) warn(warnings []identity.Warning) {
	for _, warning := range warnings {
		s.hintf("warning: %s", table.Clean(warning.Text))
	}
}

type identityCreateCommand struct {
	identityKeyFlags
	connection.Flags

	Name       string        `arg:"" help:"Name of the identity, as endpoints write it in tls.identity." placeholder:"NAME"`
	SAN        []string      `help:"Name in the certificate, by which receivers know us: a URI such as spiffe://example.com/handfast, or a DNS name; repeat it for several." name:"san" placeholder:"NAME"`
	CommonName string        `help:"Common name in the certificate, for people and old receivers; without it, the first name that fits." placeholder:"NAME"`
	Lifetime   time.Duration `default:"168h" help:"How long each certificate is valid, 1h to 9552h; it is renewed after two thirds of that." placeholder:"DURATION"`
	Authority  string        `default:"main" help:"Which authority of ours issues it; main is made when it does not exist." placeholder:"NAME"`
	JSON       bool          `help:"Print one JSON object." name:"json"`
}

// Help is the manual.
func (*identityCreateCommand) Help() string {
	return `Receivers trust the authority, whose root 'handfast identity ca' prints, and compare the name. Dispatchers renew the
certificate by themselves; receivers notice nothing of that.

  handfast identity create default --san spiffe://example.com/handfast
  handfast identity ca > ca.pem

Endpoints that name no identity are presented 'default'.`
}

// Problems says everything that is wrong with the flags.
func (c *identityCreateCommand) Problems() []error {
	all := append(c.Flags.Problems(), c.problems()...)
	if err := identity.CheckName(c.Authority); err != nil {
		all = append(all, fmt.Errorf("--authority: %w", err))
	}
	return append(all, operator.CheckCreate(c.Name, c.profile())...)
}

func (c *identityCreateCommand) profile() identity.Profile {
	return operator.ProfileOf(c.CommonName, c.SAN, c.Lifetime)
}

// Run makes it.
func (c *identityCreateCommand) Run(ctx context.Context, s streams) error {
	vault, err := c.vault(ctx)
	if err != nil {
		return err
	}
	return wallet(ctx, s, &c.Flags, "identity", func(_ *operator.Operator, w *operator.Wallet) error {
		change, err := w.Create(ctx, c.Name, c.Authority, c.profile(), vault)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		return tellIdentity(s, c.JSON, change)
	})
}

type identityImportCommand struct {
	identityKeyFlags
	connection.Flags

	Name         string `arg:"" help:"Name of the identity." placeholder:"NAME"`
	Certificate  string `help:"PEM file with the certificate and its intermediates, in any order." placeholder:"FILE"`
	Key          string `help:"PEM file with its key; without it, the key stands in --certificate." placeholder:"FILE"`
	PKCS12       string `help:"PKCS #12 file (.p12, .pfx) with both; needs --password-file." name:"pkcs12" placeholder:"FILE"`
	PasswordFile string `help:"File with the password of --pkcs12 and nothing else." placeholder:"FILE"`
	JSON         bool   `help:"Print one JSON object." name:"json"`

	text, key, password []byte
}

// Help is the manual.
func (*identityImportCommand) Help() string {
	return `Key and certificate are checked, sealed with the identity key, and stored. The files are not needed afterwards, and their
names are not recorded. Nothing renews an imported certificate: import its successor under another name before it ends, and
rotate to that.

  handfast identity import partners --certificate client.pem --key client.key
  handfast identity import partners --pkcs12 client.p12 --password-file password.txt`
}

// Problems says everything that is wrong with the flags, and reads the files that they name.
func (c *identityImportCommand) Problems() []error {
	all := append(c.Flags.Problems(), c.problems()...)
	if err := identity.CheckName(c.Name); err != nil {
		all = append(all, err)
	}
	pem, pkcs := c.Certificate != "" || c.Key != "", c.PKCS12 != "" || c.PasswordFile != ""
	switch {
	case pem && pkcs:
		all = append(all, errors.New("--pkcs12: give --certificate with --key, or --pkcs12 with --password-file, not both"))
	case pem && c.Certificate == "":
		all = append(all, errors.New("--key: needs its certificate: --certificate"))
	case pkcs && c.PKCS12 == "":
		all = append(all, errors.New("--password-file: is for --pkcs12"))
	case pkcs && c.PasswordFile == "":
		all = append(all, errors.New("--pkcs12: needs its password in a file: --password-file"))
	case !pem && !pkcs:
		all = append(all, errors.New("--certificate: is needed, or --pkcs12: what to import"))
	}
	take := func(flag, name string, into *[]byte) {
		if name == "" {
			return
		}
		text, err := read(name, maxPEM)
		if err != nil {
			all = append(all, fmt.Errorf("--%s: %w", flag, err))
		}
		*into = text
	}
	take("certificate", c.Certificate, &c.text)
	take("key", c.Key, &c.key)
	take("pkcs12", c.PKCS12, &c.text)
	take("password-file", c.PasswordFile, &c.password)
	return all
}

// Run checks and stores.
func (c *identityImportCommand) Run(ctx context.Context, s streams) error {
	vault, err := c.vault(ctx)
	if err != nil {
		return err
	}
	defer clear(c.password)
	defer clear(c.key)
	return wallet(ctx, s, &c.Flags, "identity", func(_ *operator.Operator, w *operator.Wallet) error {
		change, err := w.Import(ctx, c.Name, vault, func(v seal.Vault) (identity.Record, error) {
			switch {
			case c.PKCS12 != "":
				return identity.ImportPKCS12(c.Name, c.text, strings.TrimRight(string(c.password), "\r\n"), v, time.Now())
			case c.Key == "":
				return identity.ImportPEM(c.Name, c.text, c.text, v, time.Now())
			}
			return identity.ImportPEM(c.Name, c.text, c.key, v, time.Now())
		})
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		return tellIdentity(s, c.JSON, change)
	})
}
