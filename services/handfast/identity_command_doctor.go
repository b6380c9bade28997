package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/doctor"
	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/services/handfast/operator"
)

// identities is where a client identity comes from that no flag names.
type identities interface {
	Identity(ctx context.Context, name string) (*mtls.Identity, error)
}

// noIdentities is a place without any.
type noIdentities struct{}

// Identity says what to do instead.
func (noIdentities) Identity(_ context.Context, name string) (*mtls.Identity, error) {
	return nil, fmt.Errorf("%w: the endpoint presents %q; name its files with --identity %s=CERT,KEY, or give the key of stored identities with --identity-key-file", mtls.ErrNoIdentity, name, name)
}

// presented is the stored identity that an endpoint is presented, or why there is none.
type presented struct {
	identity *mtls.Identity
	err      error
}

// Identity returns it, whatever name the document has for it.
func (p presented) Identity(_ context.Context, name string) (*mtls.Identity, error) {
	if p.err != nil {
		return nil, fmt.Errorf("the endpoint presents %q: %w; or name its files with --identity %s=CERT,KEY", name, p.err, name)
	}
	return p.identity, nil
}

// identityFiles is NAME=CERT,KEY on the command line, or the NAME of a stored identity.
type identityFiles struct{ name, certificate, key string }

// isStored tells that there are no files.
func (f identityFiles) isStored() bool { return f.name != "" && f.certificate == "" }

// UnmarshalText reads it; the files, or what is stored, are looked at later.
func (f *identityFiles) UnmarshalText(text []byte) error {
	if identity.CheckName(string(text)) == nil {
		*f = identityFiles{name: string(text)}
		return nil
	}
	name, files, named := strings.Cut(string(text), "=")
	certificate, key, both := strings.Cut(files, ",")
	if !named || !both || name == "" || certificate == "" || key == "" {
		return fmt.Errorf("%q does not name an identity and its files; write NAME=CERT,KEY, such as default=client.pem,client.key, or the name of a stored one", text)
	}
	*f = identityFiles{name: name, certificate: certificate, key: key}
	return nil
}

// load reads the files, if there are any. What is wrong inside them is for the report.
func (f identityFiles) load(flag string, into *doctor.Identity) []error {
	if f.name == "" || f.isStored() {
		return nil // what is stored has been opened before, or will be
	}
	certificate, badCertificate := read(f.certificate, maxPEM)
	key, badKey := read(f.key, maxPEM)
	var problems []error
	for _, err := range []error{badCertificate, badKey} {
		if err != nil {
			problems = append(problems, fmt.Errorf("--%s: %w", flag, err))
		}
	}
	if len(problems) == 0 {
		*into = doctor.ReadIdentity(f.name, certificate, key, time.Now())
	}
	return problems
}

// open opens what is stored: what the flags name, and without them what the endpoint is presented and is to get next.
func (c *doctorCommand) open(ctx context.Context, s streams, o *operator.Operator) error {
	vault, err := c.vault(ctx)
	if err != nil {
		return err
	}
	w, err := o.Wallet(ctx)
	if err != nil {
		return err //nolint:wrapcheck // says what and what to do
	}
	for _, named := range []struct {
		files identityFiles
		into  *doctor.Identity
	}{{c.Identity, &c.flags.Current}, {c.Next, &c.flags.Next}} {
		if !named.files.isStored() {
			continue
		}
		opened, err := w.Open(ctx, named.files.name, vault)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		*named.into = doctor.Of(opened)
	}
	if c.document == nil {
		return nil
	}
	now, next, err := w.Presented(ctx, c.document)
	if err != nil {
		return err //nolint:wrapcheck // says what and what to do
	}
	if c.Identity.name == "" {
		opened, err := w.Open(ctx, now, vault)
		c.stored = presented{identity: opened, err: err}
	}
	if c.Next.name == "" && next != "" {
		opened, err := w.Open(ctx, next, vault)
		if err != nil {
			s.hintf("a rotation to %s is under way, and it is not tried here: %v", next, err)
			return nil
		}
		c.flags.Next = doctor.Of(opened)
	}
	return nil
}
