package main

import (
	"context"
	"fmt"

	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/services/handfast/connection"
	"github.com/handfast/handfast/services/handfast/operator"
)

type identityCSRCommand struct {
	identityKeyFlags
	connection.Flags

	Name       string   `arg:"" help:"Name of the identity: a new one, or one whose next certificate is asked for." placeholder:"NAME"`
	SAN        []string `help:"Name that the certificate shall carry: a URI such as spiffe://example.com/handfast, or a DNS name; repeat it for several. A new identity needs it." name:"san" placeholder:"NAME"`
	CommonName string   `help:"Common name to ask for; without it, the first name that fits." placeholder:"NAME"`
	Again      bool     `help:"Throw a request away that waits beside a certificate in use, with its key, and make another one."`
	JSON       bool     `help:"Print one JSON object with the request in it." name:"json"`
}

// Help is the manual.
func (*identityCSRCommand) Help() string {
	return `For receivers that trust only a CA of their own: they sign the request, and 'handfast identity install' takes what comes
back. The key is made here, sealed, and never leaves. For an existing identity it makes the request for the next
certificate; the one in use stays in use until the next is installed. Asked again, it prints the request that waits.

  handfast identity csr partners --san spiffe://example.com/handfast > partners.csr
  handfast identity install partners --certificate partners.pem`
}

// Problems says everything that is wrong with the flags.
func (c *identityCSRCommand) Problems() []error {
	all := append(c.Flags.Problems(), c.problems()...)
	profile := c.profile()
	if len(c.SAN) == 0 && c.CommonName == "" {
		// Whether it exists already is not known yet; then it has its names.
		if err := identity.CheckName(c.Name); err != nil {
			all = append(all, err)
		}
		return all
	}
	return append(all, operator.CheckRequest(c.Name, profile)...)
}

func (c *identityCSRCommand) profile() identity.Profile {
	return operator.ProfileOf(c.CommonName, c.SAN, 0)
}

// Run makes the request, or finds it, and prints it.
func (c *identityCSRCommand) Run(ctx context.Context, s streams) error {
	vault, err := c.vault(ctx)
	if err != nil {
		return err
	}
	return wallet(ctx, s, &c.Flags, "identity", func(_ *operator.Operator, w *operator.Wallet) error {
		record, change, err := w.Request(ctx, c.Name, c.profile(), c.Again, vault)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		if c.JSON {
			return writeJSON(s.out, struct {
				operator.IdentityChange

				Request string `json:"request"`
			}{change, record.RequestPEM()})
		}
		s.printf("%s", record.RequestPEM())
		s.hintf("identity %s %s", change.Name, change.Kind)
		for _, note := range change.Notes {
			s.hintf("  %s", note)
		}
		return nil
	})
}

type identityInstallCommand struct {
	identityKeyFlags
	connection.Flags

	Name        string `arg:"" help:"Name of the identity." placeholder:"NAME"`
	Certificate string `help:"PEM file with the certificate and its intermediates, in any order, or - for standard input." placeholder:"FILE" required:""`
	JSON        bool   `help:"Print one JSON object." name:"json"`

	text []byte
}

// Help is the manual.
func (*identityInstallCommand) Help() string {
	return `The certificate has to be for the key of the request, for client authentication, valid now, and has to carry the names
that were asked for. It is used for new connections at once; connections that are open end in their own time.

  handfast identity install partners --certificate partners.pem
  step ca sign partners.csr - | handfast identity install partners --certificate -`
}

// Problems says everything that is wrong with the flags, and reads the file.
func (c *identityInstallCommand) Problems() []error {
	all := append(c.Flags.Problems(), c.problems()...)
	if err := identity.CheckName(c.Name); err != nil {
		all = append(all, err)
	}
	var err error
	if c.text, err = read(c.Certificate, maxPEM); err != nil {
		all = append(all, fmt.Errorf("--certificate: %w", err))
	}
	return all
}

// Run checks and stores.
func (c *identityInstallCommand) Run(ctx context.Context, s streams) error {
	vault, err := c.vault(ctx)
	if err != nil {
		return err
	}
	return wallet(ctx, s, &c.Flags, "identity", func(_ *operator.Operator, w *operator.Wallet) error {
		change, err := w.Install(ctx, c.Name, c.text, vault)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		return tellIdentity(s, c.JSON, change)
	})
}
