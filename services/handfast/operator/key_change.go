package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/services/signer"
)

// Kinds of change of a key, besides [Created] and [Unchanged].
const (
	Imported = "imported"
	Rotated  = "rotated"
	Revoked  = "revoked"
)

// KeyChange is what happened to the keys of an endpoint.
type KeyChange struct {
	Endpoint endpoint.Key
	// Kind is [Created], [Imported], [Rotated], [Revoked] or [Unchanged].
	Kind string
	// Key is the one that it is about; after a rotation the one that is active now.
	Key signature.Key
	// Retiring are the scheme's keys that still sign beside it, and end by themselves.
	Retiring []signature.Key
	// Notes say what else there is to know or to do.
	Notes []string
}

// KeyRotation says what is to be rotated.
type KeyRotation struct {
	Scheme string
	// Overlap is for how long the key that retires still signs.
	Overlap time.Duration
	// Retire names the key that retires, when several are active.
	Retire string
}

// cacheTime is for how long receivers may keep the public keys that signers show.
const cacheTime = 5 * time.Minute

// CreateKey makes a key. It waits as the next one for a rotation; the first key of a scheme, and any that is to be active,
// signs at once. The endpoint does not have to exist yet.
func (o *Operator) CreateKey(ctx context.Context, to endpoint.Key, scheme string, active bool, vault signature.Vault) (KeyChange, error) {
	made, err := signer.NewKey(scheme)
	if err != nil {
		return KeyChange{}, err //nolint:wrapcheck // says what and what to use
	}
	return o.addKey(ctx, KeyChange{Endpoint: to, Kind: Created, Key: made}, active, vault)
}

// ImportKey takes a secret that exists already, written as its scheme writes it. It becomes what one that was made would.
// The error says in words what is wrong with it and does not repeat it.
func (o *Operator) ImportKey(ctx context.Context, to endpoint.Key, scheme, secret string, active bool, vault signature.Vault) (KeyChange, error) {
	read, err := signature.ParseSecret(scheme, secret)
	if err != nil {
		return KeyChange{}, err //nolint:wrapcheck // says what and what to do
	}
	read.Created = time.Now().UTC()
	change, err := o.addKey(ctx, KeyChange{Endpoint: to, Kind: Imported, Key: read}, active, vault)
	if err == nil {
		change.Notes = append(change.Notes, "it is sealed in the bucket of the signing keys; the file is not needed any more")
	}
	return change, err
}

func (o *Operator) addKey(ctx context.Context, change KeyChange, active bool, vault signature.Vault) (KeyChange, error) {
	use, err := o.use(ctx, change.Endpoint)
	if err != nil {
		return change, err
	}
	if active {
		change.Key.State = signature.Active
	}
	ring, err := o.changeKeys(ctx, change.Endpoint, vault, func(before signature.Ring) (signature.Ring, error) {
		if active && use.oneKey(change.Key.Scheme) && holds(before, change.Key.Scheme, signature.Active) {
			return before, fmt.Errorf("scheme %s has room for one signature, so a second active key would sign nothing; make it the next one, without --active, and then rotate", change.Key.Scheme)
		}
		after, err := before.Add(change.Key, time.Now().UTC())
		return after, advise(err, change.Endpoint, change.Key.Scheme)
	})
	if err != nil {
		return change, err
	}
	change.Key, _ = ring.Key(change.Key.ID)
	change.Retiring = retiring(ring, change.Key.Scheme)
	if change.Key.State == signature.Next {
		change.Notes = append(change.Notes, "it does not sign yet. Give it to the receiver, then make it active: "+rotateCommand(change.Endpoint, change.Key.Scheme))
	} else {
		change.Notes = append(change.Notes, "every request of this endpoint is signed with it from now on")
	}
	change.Notes = append(change.Notes, use.notes(change.Endpoint, change.Key.Scheme)...)
	return change, nil
}

// RotateKey makes the next key of a scheme the active one, or a new one when none waits. The one that was active still
// signs for the overlap, and stops then by itself. A scheme whose format has room for one signature has no overlap: there the
// next key has to be made before, so that the receiver can know it.
func (o *Operator) RotateKey(ctx context.Context, to endpoint.Key, rotation KeyRotation, vault signature.Vault) (KeyChange, error) {
	change := KeyChange{Endpoint: to, Kind: Rotated}
	made, err := signer.NewKey(rotation.Scheme)
	if err != nil {
		return change, err //nolint:wrapcheck // says what and what to use
	}
	use, err := o.use(ctx, to)
	if err != nil {
		return change, err
	}
	alone := use.oneKey(rotation.Scheme)
	if alone {
		rotation.Overlap = 0
	}
	ring, err := o.changeKeys(ctx, to, vault, func(before signature.Ring) (signature.Ring, error) {
		if alone && !holds(before, rotation.Scheme, signature.Next) {
			return before, fmt.Errorf("scheme %[1]s has room for one signature, so old and new key cannot sign side by side; make the next key first (`handfast key create %[2]s --scheme %[1]s`), let the receiver accept it beside the old one, and rotate then", rotation.Scheme, to)
		}
		after, fresh, err := before.Rotate(rotation.Scheme, rotation.Retire, made, time.Now().UTC(), rotation.Overlap)
		change.Key = fresh
		return after, advise(err, to, rotation.Scheme)
	})
	if err != nil {
		return change, err
	}
	switch {
	case alone:
		change.Notes = append(change.Notes, "requests have room for one signature, so the old key does not sign any more: a receiver that does not accept the new one by now refuses them")
	case change.Key.ID == made.ID:
		change.Notes = append(change.Notes, "no key was waiting, so a new one is made; give it to the receiver before the old one ends: `handfast key show "+to.String()+"`")
	}
	if change.Key.Public() != "" && rotation.Overlap < cacheTime {
		change.Notes = append(change.Notes, fmt.Sprintf("receivers may keep public keys for %s, which is longer than this overlap: one that does not ask again before the old key ends refuses requests then", cacheTime))
	}
	if !alone {
		change.Retiring = retiring(ring, rotation.Scheme)
	}
	change.Notes = append(change.Notes, use.notes(to, rotation.Scheme)...)
	return change, nil
}

// RevokeKey ends a key for good: every signer stops signing with it within a second. The only active key of a scheme that
// the endpoint uses is not revoked. A key that is revoked already is [Unchanged].
func (o *Operator) RevokeKey(ctx context.Context, to endpoint.Key, id string, vault signature.Vault) (KeyChange, error) {
	change := KeyChange{Endpoint: to, Kind: Revoked}
	use, err := o.use(ctx, to)
	if err != nil {
		return change, err
	}
	ring, err := o.changeKeys(ctx, to, vault, func(before signature.Ring) (signature.Ring, error) {
		if held, ok := before.Key(id); ok && held.State == signature.Revoked {
			change.Kind, change.Key = Unchanged, held
			return before, signer.ErrUnchanged
		}
		after, revoked, err := before.Revoke(id, time.Now().UTC(), use.schemes)
		change.Kind, change.Key = Revoked, revoked
		return after, advise(err, to, revoked.Scheme)
	})
	if err != nil {
		return change, err
	}
	change.Retiring = retiring(ring, change.Key.Scheme)
	if change.Kind == Revoked {
		change.Notes = append(change.Notes,
			"signers stop signing with it within a second; requests that were signed before may still arrive for a few minutes",
			"the receiver should stop accepting it: whoever knows it can sign")
	}
	return change, nil
}

// changeKeys stores what a function makes of the keys.
func (o *Operator) changeKeys(ctx context.Context, to endpoint.Key, vault signature.Vault, change func(signature.Ring) (signature.Ring, error)) (signature.Ring, error) {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	keyring, err := o.keyring(ctx, vault)
	if err != nil {
		return signature.Ring{}, err
	}
	var refused error
	ring, err := keyring.Change(ctx, to, func(before signature.Ring) (after signature.Ring, err error) {
		if len(before.Keys()) == 0 {
			err = fits(ctx, keyring)
		}
		if err == nil {
			after, err = change(before)
		}
		if refused = err; errors.Is(err, signer.ErrUnchanged) {
			refused = nil
		}
		return after, err
	})
	switch {
	case refused != nil:
		return signature.Ring{}, refused
	case err != nil:
		return signature.Ring{}, closed(err)
	}
	return ring, nil
}

// use is what an endpoint's document says about its keys.
type use struct {
	exists   bool
	schemes  []string // that sign, also those that retire
	allows   func(scheme string) bool
	template signature.Template
}

func (o *Operator) use(ctx context.Context, to endpoint.Key) (use, error) {
	shown, err := o.Endpoint(ctx, to)
	missing := (*NotFoundError)(nil)
	switch {
	case errors.As(err, &missing):
		return use{}, nil
	case err != nil:
		return use{}, err
	}
	return use{exists: true, schemes: shown.Signature.Signing(time.Now()), allows: shown.Signature.Allows, template: signature.Template{Separator: shown.Signature.Template.Separator}}, nil
}

// oneKey reports whether only one key of a scheme can sign a request.
func (u use) oneKey(scheme string) bool {
	if scheme == signature.TemplateScheme {
		return u.exists && u.template.OneKey()
	}
	return signature.OneKey(scheme)
}

// notes say why a key of a scheme signs nothing although it could, and what is known against the scheme.
func (u use) notes(to endpoint.Key, scheme string) []string {
	var notes []string
	switch {
	case !u.exists:
		notes = append(notes, "there is no endpoint "+to.String()+" yet; signers use its keys as soon as `handfast endpoint apply` makes it")
	case !slices.Contains(u.schemes, scheme):
		notes = append(notes, fmt.Sprintf("%s is signed with %s only; add %s to signature.schemes of its document", to, strings.Join(u.schemes, ", "), scheme))
	}
	if u.exists && !u.allows(scheme) {
		notes = append(notes, "the policy of "+to.String()+" does not allow what scheme "+scheme+" signs with; name its algorithm in signature.algorithms of its document")
	}
	if weak := signature.Weak(scheme); weak != "" {
		notes = append(notes, weak)
	}
	return notes
}

func holds(ring signature.Ring, scheme string, state signature.State) bool {
	now := time.Now()
	return slices.ContainsFunc(ring.Keys(), func(k signature.Key) bool { return k.Scheme == scheme && k.State == state && !k.Ended(now) })
}

func retiring(ring signature.Ring, scheme string) []signature.Key {
	var all []signature.Key
	now := time.Now()
	for _, k := range ring.Keys() {
		if k.Scheme == scheme && k.State == signature.Retiring && k.Signs(now) {
			all = append(all, k)
		}
	}
	return all
}

func rotateCommand(to endpoint.Key, scheme string) string {
	return "`handfast key rotate " + to.String() + " --scheme " + cmp.Or(scheme, "SCHEME") + "`"
}

// advise adds the command that helps to what a ring refuses.
func advise(err error, to endpoint.Key, scheme string) error {
	switch {
	case errors.Is(err, signature.ErrLastKey):
		return fmt.Errorf("%w. Put another one in its place first: %s, and revoke this one then", err, rotateCommand(to, scheme))
	case errors.Is(err, signature.ErrNoSuchKey) && scheme == "":
		return &NotFoundError{What: err.Error(), Hint: "`handfast key list " + to.String() + "` shows the keys"}
	case errors.Is(err, signature.ErrNoSuchKey):
		return &NotFoundError{What: err.Error(), Hint: "`handfast key list " + to.String() + "` shows the keys, and `handfast key create " + to.String() + " --scheme " + scheme + "` makes one"}
	case errors.Is(err, signature.ErrNotDecided):
		return fmt.Errorf("%w; `handfast key list %s` shows them", err, to)
	}
	return err
}
