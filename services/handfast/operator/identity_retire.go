package operator

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/identity"
)

// encoder is a record or an authority.
type encoder interface {
	Key() string
	Encode() ([]byte, error)
}

// write replaces an entry that is still at a revision. It tells when there was nothing to write.
func (w *Wallet) write(ctx context.Context, before, after encoder, revision uint64) (same bool, err error) {
	old, err := before.Encode()
	if err != nil {
		return false, err //nolint:wrapcheck // says what and why
	}
	value, err := after.Encode()
	if err != nil {
		return false, err //nolint:wrapcheck // says what and why
	}
	if bytes.Equal(old, value) {
		return true, nil
	}
	return false, w.put(ctx, after.Key(), value, revision)
}

// put writes an entry that is still at a revision, 0 for one that does not exist.
func (w *Wallet) put(ctx context.Context, key string, value []byte, revision uint64) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	_, err := w.bucket.Update(ctx, key, value, revision)
	return explain(err)
}

func busy(what string) error {
	return fmt.Errorf("%s is being changed by others at this moment, over and over; look at it and try again", what)
}

// InUseError says who still needs an identity or an authority that shall go.
type InUseError struct {
	What    string
	Reasons []string // each a clause
	Do      string
}

// Error lists all of them, a line each.
func (e *InUseError) Error() string {
	return fmt.Sprintf("%s is in use, and nothing was changed:\n  %s\n%s", e.What, strings.Join(e.Reasons, "\n  "), e.Do)
}

// Retire ends an identity for ever: its key is destroyed. It refuses with an [InUseError] while anybody presents it, and
// when it cannot be told whether anybody does.
func (w *Wallet) Retire(ctx context.Context, name string) (IdentityChange, error) {
	change := IdentityChange{What: "identity", Name: name, Kind: Changed}
	if _, err := w.Retirable(ctx, name); err != nil {
		return change, err
	}
	_, err := w.change(ctx, name, func(r identity.Record) (identity.Record, error) { return r.Retire(w.now()) })
	change.Notes = append(change.Notes, "it has retired: its key is gone, and no dispatcher presents it any more; its record stays for old receipts")
	return change, err
}

// Retirable returns the record if nobody presents it, and else the error that Retire would return.
func (w *Wallet) Retirable(ctx context.Context, name string) (identity.Record, error) {
	record, _, err := w.record(ctx, name)
	if err != nil {
		return record, err
	}
	v, err := w.Inventory(ctx)
	if err != nil {
		return record, err
	}
	inUse := &InUseError{What: fmt.Sprintf("identity %q", name), Do: "Rotate to another identity first: `handfast identity rotate NAME --to NEXT`"}
	for _, err := range v.Unreadable {
		inUse.Reasons = append(inUse.Reasons, "it cannot be told whether it is presented: "+err.Error())
	}
	for _, u := range v.Uses(name) {
		if u.Next {
			inUse.Reasons = append(inUse.Reasons, fmt.Sprintf("%s is being rotated to it; `handfast rotate rollback %s` takes that back", u.Name, u.Name))
		}
		if len(u.Endpoints) > 0 {
			inUse.Reasons = append(inUse.Reasons, fmt.Sprintf("it is presented as %s to %s", u.Name, enumerate(u.Endpoints)))
		}
		if u.Stands && (u.Name != name || len(u.Endpoints) == 0) {
			inUse.Reasons = append(inUse.Reasons, fmt.Sprintf("the name %s stands for it", u.Name))
		}
	}
	if len(inUse.Reasons) > 0 {
		return record, inUse
	}
	return record, nil
}

// day is a moment in the words of errors and notes.
func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// successor proposes a name.
func successor(name string) string {
	const longest = 61
	return strings.TrimRight(name[:min(len(name), longest)], "-") + "-2"
}
