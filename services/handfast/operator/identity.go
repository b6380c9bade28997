package operator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/rotation"
	"github.com/handfast/handfast/pkg/seal"
	"github.com/handfast/handfast/pkg/stream"
)

// Wallet looks after the stored client identities, the authorities that issue them, and the rotations from one to the
// next. Every change is one compare-and-set write; a conflict reads again. It sees keys sealed, except where a vault is
// handed in.
type Wallet struct {
	operator *Operator
	bucket   *stream.Bucket
	now      func() time.Time
}

// Wallet opens the bucket of client identities.
func (o *Operator) Wallet(ctx context.Context) (*Wallet, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	bucket, err := stream.OpenBucket(ctx, o.js, stream.IdentityBucket, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, explain(err)
	}
	return &Wallet{operator: o, bucket: bucket, now: time.Now}, nil
}

// Inventory is what the bucket held at one moment, beside the endpoints that present it.
type Inventory struct {
	// Identities and Authorities are sorted by name.
	Identities  []identity.Record
	Authorities []identity.Authority
	// Unreadable says which entries and documents could not be read, and why. Nothing is concluded from their absence.
	Unreadable []error

	board     *rotation.Board
	endpoints []Stored
}

// Inventory reads everything.
func (w *Wallet) Inventory(ctx context.Context) (*Inventory, error) {
	entries, err := w.list(ctx, ">")
	if err != nil {
		return nil, err
	}
	v, err := w.inventory(ctx, entries)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(v.Identities, func(a, b identity.Record) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(v.Authorities, func(a, b identity.Authority) int { return strings.Compare(a.Name, b.Name) })
	return v, nil
}

func (w *Wallet) list(ctx context.Context, filter string) ([]stream.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, 6*requestTime)
	defer cancel()
	entries, err := w.bucket.List(ctx, filter)
	if err != nil {
		return nil, explain(err)
	}
	return entries, nil
}

// inventory reads entries; endpoints are read after them, so that none is missed that was applied meanwhile.
func (w *Wallet) inventory(ctx context.Context, entries []stream.Entry) (*Inventory, error) {
	endpoints, unreadable := w.operator.Endpoints(ctx, "")
	if endpoints == nil && unreadable != nil {
		return nil, unreadable
	}
	v := &Inventory{endpoints: endpoints}
	if unreadable != nil {
		v.Unreadable = append(v.Unreadable, unreadable)
	}
	v.board = rotation.NewBoard(newRoster(endpoints, w.operator.topology.Partitions))
	for _, e := range entries {
		if err := v.take(e); err != nil {
			v.Unreadable = append(v.Unreadable, err)
		}
	}
	v.board.Loaded()
	return v, nil
}

func (v *Inventory) take(e stream.Entry) error {
	switch {
	case strings.HasPrefix(e.Key, identity.RecordKey("")):
		record, err := identity.DecodeRecord(e.Key, e.Value)
		if err != nil {
			return err //nolint:wrapcheck // names the entry
		}
		v.Identities = append(v.Identities, record)
	case strings.HasPrefix(e.Key, identity.AuthorityKey("")):
		a, err := identity.DecodeAuthority(e.Key, e.Value)
		if err != nil {
			return err //nolint:wrapcheck // names the entry
		}
		v.Authorities = append(v.Authorities, a)
	case rotation.IsAssignmentKey(e.Key):
		return v.board.PutAssignment(e.Key, e.Value, e.Revision) //nolint:wrapcheck // names the entry
	case rotation.IsStatusKey(e.Key):
		return v.board.PutStatus(e.Key, e.Value, e.Revision) //nolint:wrapcheck // names the entry
	}
	return nil
}

// Identity returns the record of a name, or a [NotFoundError] that names those that exist.
func (w *Wallet) Identity(ctx context.Context, name string) (identity.Record, error) {
	record, _, err := w.record(ctx, name)
	return record, err
}

func (w *Wallet) record(ctx context.Context, name string) (identity.Record, uint64, error) {
	if err := identity.CheckName(name); err != nil {
		return identity.Record{}, 0, err //nolint:wrapcheck // names it
	}
	entry, err := w.entry(ctx, identity.RecordKey(name))
	if errors.Is(err, stream.ErrNoEntry) {
		return identity.Record{}, 0, w.missing(ctx, name)
	}
	if err != nil {
		return identity.Record{}, 0, err
	}
	record, err := identity.DecodeRecord(entry.Key, entry.Value)
	return record, entry.Revision, err //nolint:wrapcheck // names the entry
}

func (w *Wallet) entry(ctx context.Context, key string) (stream.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	entry, err := w.bucket.Get(ctx, key)
	if err != nil {
		return stream.Entry{}, explain(err)
	}
	return entry, nil
}

// missing says that there is no such identity, and which there are.
func (w *Wallet) missing(ctx context.Context, name string) error {
	err := &NotFoundError{
		What: fmt.Sprintf("no identity %q is stored", name),
		Hint: "none is; `handfast identity create` makes one, `import` takes one, and `csr` makes a request for one",
	}
	entries, _ := w.list(ctx, identity.RecordKey("*")) // it only makes the words better
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, strings.TrimPrefix(e.Key, identity.RecordKey("")))
	}
	if len(names) > 0 {
		slices.Sort(names)
		err.Hint = "there is " + enumerate(names)
	}
	return err
}

// Open returns the stored identity of this name, ready to be presented.
func (w *Wallet) Open(ctx context.Context, name string, vault seal.Vault) (*mtls.Identity, error) {
	record, _, err := w.record(ctx, name)
	if err != nil {
		return nil, err
	}
	return openRecord(record, vault, w.now())
}

func openRecord(record identity.Record, vault seal.Vault, now time.Time) (*mtls.Identity, error) {
	opened, err := record.Open(vault, now)
	switch {
	case errors.Is(err, seal.ErrWrongMasterKey):
		return nil, fmt.Errorf("%w; give the key that the dispatchers use with --identity-key-file", err)
	case errors.Is(err, mtls.ErrNoIdentity) && record.State == identity.Pending:
		return nil, fmt.Errorf("%w; `handfast identity install %s` takes the certificate that it waits for", err, record.Name)
	}
	return opened, err
}

// Presented says which identity an endpoint is presented now, and which one it is to get by a rotation; next is empty
// when there is none.
func (w *Wallet) Presented(ctx context.Context, to *endpoint.Endpoint) (now, next string, err error) {
	v, err := w.rotationOf(ctx, to.TLS.Identity)
	if err != nil {
		return "", "", err
	}
	a, _, err := v.board.Assignment(to.TLS.Identity)
	if err != nil {
		return "", "", err //nolint:wrapcheck // says what and what to do
	}
	now = v.board.Presents(to.TLS.Identity, to.Key())
	if a.Rotation != nil && a.Rotation.State != rotation.RollingBack && a.Rotation.To != now {
		next = a.Rotation.To
	}
	return now, next, nil
}

// Stands says which identity a name in documents stands for, and which one a rotation brings; next is empty without one.
func (w *Wallet) Stands(ctx context.Context, name string) (uses, next string, err error) {
	a, _, err := w.assignment(ctx, name)
	if err != nil {
		return "", "", err
	}
	if a.Rotation != nil && a.Rotation.State != rotation.RollingBack {
		next = a.Rotation.To
	}
	return a.Uses, next, nil
}

// enumerate joins names for people, and says how many it leaves out.
func enumerate(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
