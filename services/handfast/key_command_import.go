package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/handfast/handfast/pkg/mtls/token"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/services/handfast/custody"
	"github.com/handfast/handfast/services/handfast/operator"
)

type keyImportCommand struct {
	schemeFlag
	keyFlags

	SecretFile string `default:"-" help:"File with the secret and nothing else; '-' is standard input." placeholder:"FILE"`
	Token      string `help:"Take a key that stays in a PKCS#11 token, by its URI (RFC 7512), in place of a secret; for schemes with key pairs." placeholder:"URI"`
	PublicKey  string `help:"The public half of that key, as the scheme writes it, where this command cannot reach the token." placeholder:"KEY"`
	Active     bool   `help:"Let it sign at once, beside the keys that sign already."`

	secret []byte
}

// Help is the manual.
func (*keyImportCommand) Help() string {
	return `A receiver that knows a secret already keeps it. The secret is written as its scheme writes it: whsec_… for v1, whsk_… for
v1a, a private key as PEM for the key pairs of rfc9421, and for the formats of providers the whole text as they show it.
Secrets of several providers look alike and are different keys, so the scheme is never guessed.

Imported before 'handfast endpoint apply' makes the endpoint, it is its only key; later it waits as the next one.

  handfast key import acme/orders --scheme v1 --secret-file secret.txt
  vault read -field=secret … | handfast key import acme/orders --scheme v1

A private key may stay in a PKCS#11 token: Ed25519 for v1a and rfc9421-ed25519, ECDSA on P-256 for rfc9421-ecdsa-p256-sha256.
Every signer reaches the token under that URI, and was started with --token-module and the library in it. While a token is away
nothing is signed with its key, and deliveries wait. A token is slower than a key that is sealed here: rfc9421 gives it a few
hundred bytes to sign, v1a the whole body.

  handfast key import acme/orders --scheme v1a     --token 'pkcs11:token=acme;object=orders?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin'

Importing it again under another URI moves it there.`
}

// maxSecret bounds what is read: far more than any secret needs.
const maxSecret = 16 << 10

// Problems says everything that is wrong with the flags, and reads the secret.
func (c *keyImportCommand) Problems() []error {
	all := append(c.Flags.Problems(), c.problems()...)
	if c.Token != "" || c.PublicKey != "" {
		return append(all, c.tokenProblems()...)
	}
	if c.SecretFile == "-" && isTerminal(os.Stdin) {
		return append(all, errors.New("--secret-file: is needed, or the secret on standard input; a terminal would show it"))
	}
	text, err := read(c.SecretFile, maxSecret)
	if err != nil {
		return append(all, fmt.Errorf("--secret-file: %w", err))
	}
	// Only the line break with which every editor ends a file.
	c.secret = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if len(all) > 0 {
		return all
	}
	if _, err := signature.ParseSecret(c.Scheme, string(c.secret)); err != nil {
		all = append(all, fmt.Errorf("--secret-file: %w", err))
	}
	return all
}

func (c *keyImportCommand) tokenProblems() []error {
	var all []error
	if c.SecretFile != "-" {
		all = append(all, errors.New("--secret-file: the key is in a token, so there is no secret to read"))
	}
	if c.Token == "" {
		return append(all, errors.New("--public-key: needs --token, which says where the private half is"))
	}
	place, err := custody.Place(c.Token)
	if err != nil {
		return append(all, fmt.Errorf("--token: %w", err))
	}
	if c.PublicKey != "" {
		if _, err := signature.KeyInCustody(c.Scheme, place, c.PublicKey); err != nil {
			all = append(all, fmt.Errorf("--public-key: %w", err))
		}
	}
	return all
}

// Run checks and stores.
func (c *keyImportCommand) Run(ctx context.Context, s streams) error {
	if c.Token != "" {
		key, err := c.inToken(ctx)
		if err != nil {
			return err
		}
		return c.change(ctx, s, func(o *operator.Operator, vault signature.Vault) (operator.KeyChange, error) {
			return o.ImportTokenKey(ctx, c.Endpoint.Key, key, c.Active, vault)
		})
	}
	defer clear(c.secret)
	return c.change(ctx, s, func(o *operator.Operator, vault signature.Vault) (operator.KeyChange, error) {
		change, err := o.ImportKey(ctx, c.Endpoint.Key, c.Scheme, string(c.secret), c.Active, vault)
		if warning := signature.Lookalike(c.Scheme, string(c.secret)); err == nil && warning != "" {
			s.hintf("warning: %s. If it is another provider's: `handfast key revoke %s %s`", warning, c.Endpoint, change.Key.ID)
		}
		return change, err
	})
}

// inToken is the key that stays in a token. Where it was not told the public half, it asks the token, and lets it sign.
func (c *keyImportCommand) inToken(ctx context.Context) (signature.Key, error) {
	place, err := custody.Place(c.Token)
	if err != nil {
		return signature.Key{}, fmt.Errorf("--token: %w", err)
	}
	if c.PublicKey != "" {
		key, err := signature.KeyInCustody(c.Scheme, place, c.PublicKey)
		if err != nil {
			return key, fmt.Errorf("--public-key: %w", err)
		}
		return key, nil
	}
	config, err := token.ParseURI(c.Token)
	if err != nil {
		return signature.Key{}, fmt.Errorf("--token: %w", err)
	}
	tokens := custody.New([]string{config.Module}, slog.New(slog.DiscardHandler))
	defer tokens.Close()
	public, err := tokens.Public(ctx, place)
	if err != nil {
		return signature.Key{}, fmt.Errorf("--token: %w; where this command cannot reach the token, give the key's public half with --public-key", err)
	}
	text, err := signature.PublicText(c.Scheme, public)
	if err != nil {
		return signature.Key{}, fmt.Errorf("--token: %w", err)
	}
	key, err := signature.KeyInCustody(c.Scheme, place, text)
	if err != nil {
		return key, fmt.Errorf("--token: %w", err)
	}
	return key, trySigning(ctx, key, tokens)
}

// trySigning finds out before a key is stored that it signs.
func trySigning(ctx context.Context, key signature.Key, by signature.Custody) error {
	key.State = signature.Active
	ring, err := signature.NewRing(key)
	if err != nil {
		return err //nolint:wrapcheck // says what and what to do
	}
	probe := signature.Request{ID: "msg_probe", Time: time.Now(), Method: http.MethodPost, URL: "https://receiver.example/", Body: []byte("{}")}
	if _, _, err := (signature.Signer{}).Sign(probe, []string{key.Scheme}, ring.Bind(ctx, by)); err != nil {
		return fmt.Errorf("--token: a first signature was tried: %w", err)
	}
	return nil
}
