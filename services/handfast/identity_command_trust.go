package main

import (
	"context"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/services/handfast/operator"
)

// stored is the deployment whose identities stand in NATS.
type stored struct {
	wallet *operator.Wallet
	// name is what endpoints' documents have for the identity.
	name string
	tell func(format string, args ...any)
}

// CA is the roots of our own authorities.
func (d stored) CA(ctx context.Context) ([]byte, error) {
	record, _, err := d.record(ctx)
	missing := (*operator.NotFoundError)(nil)
	switch {
	case errors.As(err, &missing): // the dispatchers may have it in files; SAN tells when that matters
	case err != nil:
		return nil, err
	case record.Origin != identity.FromAuthority:
		issuer := "a CA that is not ours"
		if leaf := record.Leaf(); leaf != nil {
			issuer = fmt.Sprintf("%q, a CA that is not ours", leaf.Issuer)
		}
		return nil, fmt.Errorf("is needed: identity %s is issued by %s; give the root of that, and the name with --san", record.Name, issuer)
	}
	all, err := d.wallet.Authorities(ctx)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what and what to do
	}
	return identity.Bundle(all), nil
}

// SAN is the first name of the identity, by which a receiver compares whole.
func (d stored) SAN(ctx context.Context) (string, error) {
	record, next, err := d.record(ctx)
	if err != nil {
		return "", err
	}
	names := record.Profile.Names()
	if len(names) == 0 {
		return "", fmt.Errorf("is needed: the certificate of identity %s has no alternative name; make an identity that has one", record.Name)
	}
	if len(names) > 1 {
		d.tell("note: identity %s has several names, %s; this compares the first; --san names another", record.Name, strings.Join(names, ", "))
	}
	if next == "" {
		return names[0], nil
	}
	if to, err := d.wallet.Identity(ctx, next); err == nil && !slices.Contains(to.Profile.Names(), names[0]) {
		d.tell("note: %s is being rotated to %s, which does not have the name %s but %s: the receiver has to accept both until the rotation has ended",
			d.name, next, names[0], strings.Join(to.Profile.Names(), ", "))
	}
	return names[0], nil
}

// Subject is read from the certificate in use, in the order in which it stands there.
func (d stored) Subject(ctx context.Context) (string, error) {
	record, _, err := d.record(ctx)
	if err != nil || record.Leaf() == nil {
		return "", err
	}
	var subject pkix.RDNSequence
	if _, err := asn1.Unmarshal(record.Leaf().RawSubject, &subject); err != nil {
		return "", fmt.Errorf("read the subject of identity %s: %w", record.Name, err)
	}
	return subject.String(), nil
}

// record is the identity that the name stands for now, and the name of the one that is to follow.
func (d stored) record(ctx context.Context) (record identity.Record, next string, err error) {
	uses, next, err := d.wallet.Stands(ctx, d.name)
	if err != nil {
		return record, "", err //nolint:wrapcheck // says what and what to do
	}
	record, err = d.wallet.Identity(ctx, uses)
	return record, next, err //nolint:wrapcheck // says what and what to do
}
