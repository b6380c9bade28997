package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/seal"
	"github.com/handfast/handfast/pkg/stream"
)

// MainAuthority is the authority that the first identity makes for itself.
const MainAuthority = "main"

// IdentityChange is what happened to one identity or authority.
type IdentityChange struct {
	// What is "identity" or "authority".
	What string `json:"what"`
	Name string `json:"name"`
	// Kind is [Created] or [Changed].
	Kind string `json:"change"`
	// Notes say what else happened and what there is to do.
	Notes    []string           `json:"notes,omitempty"`
	Warnings []identity.Warning `json:"warnings,omitempty"`
}

// tries is how often a change is made anew after somebody else has written.
const tries = 5

// Create makes an identity that our own authority issues and renews. The authority named [MainAuthority] is made when it
// does not exist.
func (w *Wallet) Create(ctx context.Context, name, authority string, profile identity.Profile, vault seal.Vault) (IdentityChange, error) {
	change := IdentityChange{What: "identity", Name: name, Kind: Created}
	if err := w.free(ctx, name, vault); err != nil {
		return change, err
	}
	from, made, err := w.issuer(ctx, authority, vault)
	if err != nil {
		return change, err
	}
	// The record is made before anything is stored: a mistake in it must not leave an authority behind.
	record, err := identity.Create(name, from, profile, vault, w.now())
	if err != nil {
		return change, err //nolint:wrapcheck // says what and what to do
	}
	if made {
		err := w.createAuthority(ctx, from)
		if errors.Is(err, stream.ErrConflict) {
			return change, fmt.Errorf("authority %q was made by somebody else at this moment; try again", authority)
		}
		if err != nil {
			return change, err
		}
		change.Notes = append(change.Notes, fmt.Sprintf("authority %q is made, too: receivers have to trust it (`handfast identity ca`)", authority))
	}
	change.Warnings, err = w.store(ctx, record)
	return change, err
}

func (w *Wallet) issuer(ctx context.Context, name string, vault seal.Vault) (a identity.Authority, made bool, err error) {
	a, _, err = w.authority(ctx, name)
	if missing := (*NotFoundError)(nil); name == MainAuthority && errors.As(err, &missing) {
		a, err = identity.NewAuthority(name, "", 0, vault, w.now())
		return a, true, err
	}
	return a, false, err
}

// Import stores an identity that came with its key; read makes the record of what came.
func (w *Wallet) Import(ctx context.Context, name string, vault seal.Vault, read func(seal.Vault) (identity.Record, error)) (IdentityChange, error) {
	change := IdentityChange{What: "identity", Name: name, Kind: Created}
	if err := w.free(ctx, name, vault); err != nil {
		return change, err
	}
	record, err := read(vault)
	if err != nil {
		return change, err
	}
	change.Warnings, err = w.store(ctx, record)
	return change, err
}

// free tells in words why a new record cannot be stored under a name.
func (w *Wallet) free(ctx context.Context, name string, vault seal.Vault) error {
	record, _, err := w.record(ctx, name)
	missing := (*NotFoundError)(nil)
	switch {
	case errors.As(err, &missing):
		return w.fits(ctx, vault)
	case err != nil:
		return err
	case record.State == identity.Retired:
		return fmt.Errorf("identity %q was retired on %s, and its name stays with the old receipts; choose another name, such as %s", name, day(record.Retired), successor(name))
	}
	return fmt.Errorf("identity %q exists already (%s, %s); choose another name, such as %s, and rotate to it with `handfast identity rotate`", name, record.Origin, record.State, successor(name))
}

// fits refuses a vault that opens nothing of what is stored: the dispatchers hold one key, and it is not this one.
func (w *Wallet) fits(ctx context.Context, vault seal.Vault) error {
	entries, err := w.list(ctx, ">")
	if err != nil {
		return err
	}
	var wrong error
	for _, e := range entries {
		var opening error
		if record, err := identity.DecodeRecord(e.Key, e.Value); err == nil {
			if record.State != identity.Active {
				continue
			}
			_, opening = record.Open(vault, w.now())
		} else if a, err := identity.DecodeAuthority(e.Key, e.Value); err == nil {
			if a.State == identity.AuthorityRetired {
				continue
			}
			_, opening = a.Open(vault, w.now())
		} else {
			continue
		}
		if !errors.Is(opening, seal.ErrWrongMasterKey) {
			return nil // this one was sealed with the same key
		}
		wrong = opening
	}
	if wrong != nil {
		return fmt.Errorf("--identity-key-file names another key than the one that sealed what is stored, so dispatchers could not open what you add; give theirs: %w", wrong)
	}
	return nil
}

// store writes a record of a new name, and says what there is to know about it.
func (w *Wallet) store(ctx context.Context, record identity.Record) ([]identity.Warning, error) {
	value, err := record.Encode()
	if err != nil {
		return nil, err //nolint:wrapcheck // says what and why
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	_, err = w.bucket.Create(ctx, record.Key(), value)
	if errors.Is(err, stream.ErrConflict) {
		return nil, fmt.Errorf("identity %q was stored by somebody else at this moment; look at it with `handfast identity show %s`", record.Name, record.Name)
	}
	if err != nil {
		return nil, explain(err)
	}
	return record.Warnings(w.now()), nil
}

// Request returns the record with a request that waits to be signed: it makes an identity of a new name, and a request
// for the successor of an existing one. A request that waits already is returned as it stands, unless again is set.
func (w *Wallet) Request(ctx context.Context, name string, profile identity.Profile, again bool, vault seal.Vault) (identity.Record, IdentityChange, error) {
	change := IdentityChange{What: "identity", Name: name, Kind: Created}
	missing := (*NotFoundError)(nil)
	if _, _, err := w.record(ctx, name); errors.As(err, &missing) {
		if err := w.fits(ctx, vault); err != nil {
			return identity.Record{}, change, err
		}
		record, err := identity.Request(name, profile, vault, w.now())
		if err != nil {
			return record, change, err //nolint:wrapcheck // says what and what to do
		}
		change.Notes = append(change.Notes, fmt.Sprintf("its key is made and stays here; `handfast identity install %s` takes the certificate", name))
		change.Warnings, err = w.store(ctx, record)
		return record, change, err
	}
	change.Kind = Changed
	record, err := w.change(ctx, name, func(r identity.Record) (identity.Record, error) {
		if err := sameNames(r, profile); err != nil {
			return r, err
		}
		if r.RequestPEM() != "" && !again {
			change.Kind = Unchanged
			return r, nil
		}
		if r.RequestPEM() != "" {
			withdrawn, err := r.Withdraw()
			if err != nil {
				return r, err //nolint:wrapcheck // says what and why
			}
			r = withdrawn
		}
		return r.RequestSuccessor(vault, w.now())
	})
	if err != nil {
		return record, change, err
	}
	note := fmt.Sprintf("a new key waits beside the one in use; `handfast identity install %s` takes the certificate", name)
	if change.Kind == Unchanged {
		note = fmt.Sprintf("this request waits since %s; --again makes another one, with a new key", day(record.Requested))
	}
	change.Notes = append(change.Notes, note)
	return record, change, nil
}

// sameNames refuses other names than those that an identity has: receivers compare them.
func sameNames(r identity.Record, asked identity.Profile) error {
	names := asked.Names()
	if len(names) == 0 && asked.CommonName == "" {
		return nil
	}
	have := r.Profile.Names()
	slices.Sort(names)
	slices.Sort(have)
	if !slices.Equal(names, have) || (asked.CommonName != "" && asked.CommonName != r.Profile.CommonName) {
		return fmt.Errorf("identity %q is known as %s, and its next request asks for the same; leave --san and --common-name out, or make another identity for other names", r.Name, strings.Join(have, ", "))
	}
	return nil
}

// Install takes the certificate that a CA returned for a request into use.
func (w *Wallet) Install(ctx context.Context, name string, certificatePEM []byte, vault seal.Vault) (IdentityChange, error) {
	change := IdentityChange{What: "identity", Name: name, Kind: Changed}
	record, err := w.change(ctx, name, func(r identity.Record) (identity.Record, error) {
		return r.Install(certificatePEM, vault, w.now())
	})
	if err != nil {
		return change, err
	}
	change.Warnings = record.Warnings(w.now())
	change.Notes = append(change.Notes, "its certificate is in use, and valid until "+day(record.Leaf().NotAfter))
	return change, nil
}

// change writes what a function makes of a record; what it returns unchanged is not written.
func (w *Wallet) change(ctx context.Context, name string, change func(identity.Record) (identity.Record, error)) (identity.Record, error) {
	for range tries {
		before, revision, err := w.record(ctx, name)
		if err != nil {
			return identity.Record{}, err
		}
		after, err := change(before)
		if err != nil {
			return before, err
		}
		same, err := w.write(ctx, before, after, revision)
		if same || !errors.Is(err, stream.ErrConflict) {
			return after, err
		}
	}
	return identity.Record{}, busy(fmt.Sprintf("identity %q", name))
}
