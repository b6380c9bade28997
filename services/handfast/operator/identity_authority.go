package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/seal"
	"github.com/handfast/handfast/pkg/stream"
)

// authority returns the authority of a name, or a [NotFoundError] that names those that exist.
func (w *Wallet) authority(ctx context.Context, name string) (identity.Authority, uint64, error) {
	if err := identity.CheckName(name); err != nil {
		return identity.Authority{}, 0, err //nolint:wrapcheck // names it
	}
	entry, err := w.entry(ctx, identity.AuthorityKey(name))
	if errors.Is(err, stream.ErrNoEntry) {
		return identity.Authority{}, 0, w.missingAuthority(ctx, name)
	}
	if err != nil {
		return identity.Authority{}, 0, err
	}
	a, err := identity.DecodeAuthority(entry.Key, entry.Value)
	return a, entry.Revision, err //nolint:wrapcheck // names the entry
}

func (w *Wallet) missingAuthority(ctx context.Context, name string) error {
	missing := &NotFoundError{
		What: fmt.Sprintf("there is no authority %q", name),
		Hint: fmt.Sprintf("`handfast identity authority create %s` makes it", name),
	}
	entries, _ := w.list(ctx, identity.AuthorityKey("*")) // it only makes the words better
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, strings.TrimPrefix(e.Key, identity.AuthorityKey("")))
	}
	if len(names) > 0 {
		slices.Sort(names)
		missing.Hint += "; there is " + enumerate(names)
	}
	return missing
}

// CreateAuthority makes a private CA. A lifetime of zero stands for ten years, and an empty common name for the
// authority's own.
func (w *Wallet) CreateAuthority(ctx context.Context, name, commonName string, lifetime time.Duration, vault seal.Vault) (IdentityChange, error) {
	change := IdentityChange{What: "authority", Name: name, Kind: Created}
	if err := w.fits(ctx, vault); err != nil {
		return change, err
	}
	a, err := identity.NewAuthority(name, commonName, lifetime, vault, w.now())
	if err != nil {
		return change, err //nolint:wrapcheck // says what and what to do
	}
	err = w.createAuthority(ctx, a)
	if errors.Is(err, stream.ErrConflict) {
		return change, fmt.Errorf("authority %q exists already; choose another name, such as %s: a name stays with what was issued under it", name, successor(name))
	}
	change.Warnings = a.Warnings(w.now())
	change.Notes = append(change.Notes, "give receivers `handfast identity ca` before an identity of it is presented to them; it holds the roots in use, too")
	return change, err
}

func (w *Wallet) createAuthority(ctx context.Context, a identity.Authority) error {
	value, err := a.Encode()
	if err != nil {
		return err //nolint:wrapcheck // says what and why
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	_, err = w.bucket.Create(ctx, a.Key(), value)
	return explain(err)
}

// RetireAuthority lets an authority renew what it has issued and issue nothing new. With final set its key is destroyed,
// and receivers need no longer trust it; that is refused with an [InUseError] while it has to renew anything.
func (w *Wallet) RetireAuthority(ctx context.Context, name string, final bool) (IdentityChange, error) {
	change := IdentityChange{What: "authority", Name: name, Kind: Changed}
	issued, err := w.Issued(ctx, name)
	if err != nil {
		return change, err
	}
	state := identity.AuthorityRetiring
	note := "it issues for no new identity; nothing is left that it renews, so `handfast identity authority retire " + name + " --final` can end it"
	if len(issued) > 0 {
		note = fmt.Sprintf("it issues for no new identity, and still renews %s: rotate to identities under another authority, retire these, and then end it with --final", enumerate(issued))
	}
	if final {
		if len(issued) > 0 {
			return change, &InUseError{
				What: fmt.Sprintf("authority %q", name), Reasons: []string{"it renews " + enumerate(issued)},
				Do: "Rotate to identities under another authority, and retire these first (`handfast identity retire NAME --yes`)",
			}
		}
		state = identity.AuthorityRetired
		note = "it has retired: its key is gone, `handfast identity ca` no longer has its root, and receivers may remove that"
	}
	change.Notes = append(change.Notes, note)
	return change, w.become(ctx, name, state)
}

// ReviveAuthority takes a retirement that was not final back.
func (w *Wallet) ReviveAuthority(ctx context.Context, name string) (IdentityChange, error) {
	change := IdentityChange{What: "authority", Name: name, Kind: Changed, Notes: []string{"it issues for new identities again"}}
	return change, w.become(ctx, name, identity.AuthorityActive)
}

// Issued lists the identities that an authority has to renew.
func (w *Wallet) Issued(ctx context.Context, name string) ([]string, error) {
	if _, _, err := w.authority(ctx, name); err != nil {
		return nil, err
	}
	v, err := w.Inventory(ctx)
	if err != nil {
		return nil, err
	}
	for _, err := range v.Unreadable {
		if refused, ok := errors.AsType[*identity.RefusedError](err); ok {
			return nil, fmt.Errorf("it cannot be told what authority %q has issued: %w", name, refused)
		}
	}
	return v.IssuedBy(name), nil
}

func (w *Wallet) become(ctx context.Context, name string, state identity.AuthorityState) error {
	for range tries {
		before, revision, err := w.authority(ctx, name)
		if err != nil {
			return err
		}
		if before.State == state && state != identity.AuthorityRetired {
			return fmt.Errorf("authority %q is %s already", name, state)
		}
		after, err := before.Become(state, w.now())
		if err != nil {
			return err //nolint:wrapcheck // says what and why
		}
		if _, err = w.write(ctx, before, after, revision); !errors.Is(err, stream.ErrConflict) {
			return err
		}
	}
	return busy(fmt.Sprintf("authority %q", name))
}

// Authorities returns every authority, by name; the error is a [NotFoundError] when there is none.
func (w *Wallet) Authorities(ctx context.Context) ([]identity.Authority, error) {
	entries, err := w.list(ctx, identity.AuthorityKey("*"))
	if err != nil {
		return nil, err
	}
	all := make([]identity.Authority, 0, len(entries))
	var problems []error
	for _, e := range entries {
		a, err := identity.DecodeAuthority(e.Key, e.Value)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		all = append(all, a)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err // a bundle with a gap in it would break receivers
	}
	if len(all) == 0 {
		return nil, &NotFoundError{
			What: "there is no authority of our own",
			Hint: "`handfast identity create` makes one; what was imported, or signed for a request, receivers trust by the CA that issued it",
		}
	}
	slices.SortFunc(all, func(a, b identity.Authority) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}
