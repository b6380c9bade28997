package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/handfast/handfast/pkg/seal"
)

// Store is where a renewed record is put.
type Store interface {
	// Update replaces the entry whose revision is last and returns its new
	// revision. If the entry has another revision by now, nothing is written and
	// the error wraps [ErrConflict].
	Update(ctx context.Context, key string, value []byte, last uint64) (uint64, error)
}

// RenewerOptions are the choices of [NewRenewer]. Every zero value is a good one.
type RenewerOptions struct {
	// Interval between two looks at the book, each up to half as long again; a
	// minute when zero or negative.
	Interval time.Duration
	// Logger gets every renewal and, once, every problem; nothing is logged when nil.
	Logger *slog.Logger
	// Now is the clock that says what is due; time.Now when nil.
	Now func() time.Time
}

// Renewer renews the identities of our own authorities when they are due. Any
// number of them may run on one store: the store's compare-and-set lets one win,
// and random waits between looks make a race rare in the first place.
type Renewer struct {
	book    *Book
	store   Store
	vault   seal.Vault
	options RenewerOptions

	logged map[string]string // by name, what was logged last; Run's alone
}

// NewRenewer makes a renewer of what the book holds. The vault has to open the
// authorities' keys.
func NewRenewer(book *Book, store Store, vault seal.Vault, options RenewerOptions) *Renewer {
	if options.Interval <= 0 {
		options.Interval = time.Minute
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Renewer{book: book, store: store, vault: vault, options: options, logged: make(map[string]string)}
}

// Run renews until ctx ends, and then returns nil. It returns for no other
// reason: what cannot be renewed is tried again at the next look. A renewer runs
// once.
func (r *Renewer) Run(ctx context.Context) error {
	wait := time.NewTimer(rand.N(r.options.Interval)) //nolint:gosec // spreads load, hides nothing
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-wait.C:
			r.look(ctx)
			wait.Reset(r.options.Interval + rand.N(r.options.Interval/2+1)) //nolint:gosec // as above
		}
	}
}

func (r *Renewer) look(ctx context.Context) {
	for _, record := range r.book.Due(r.options.Now()) {
		if ctx.Err() != nil {
			return
		}
		r.settle(ctx, record, r.renew(ctx, record.Name))
	}
}

// renew asks the book again, because the entry may have changed since Due.
func (r *Renewer) renew(ctx context.Context, name string) error {
	now := r.options.Now()
	record, revision, found := r.book.Record(name)
	if !found || !record.Due(now) {
		return nil
	}
	from, found := r.book.Authority(record.Authority)
	if !found {
		return fmt.Errorf("there is no authority %q any more: create another identity under one that there is, and rotate to it", record.Authority)
	}
	renewed, err := record.Renew(from, r.vault, now)
	if err != nil {
		return err
	}
	value, err := renewed.Encode()
	if err != nil {
		return err
	}
	stored, err := r.store.Update(ctx, record.Key(), value, revision)
	if err != nil {
		return fmt.Errorf("store %s: %w", identityLabel(name), err)
	}
	r.book.Put(ctx, record.Key(), value, stored) // at once, and not only when the bucket tells
	r.options.Logger.InfoContext(ctx, "client identity renewed", slog.Any("identity", renewed),
		slog.String("previous_fingerprint", record.Fingerprint()))
	return nil
}

// settle logs a problem when it is new.
func (r *Renewer) settle(ctx context.Context, record Record, err error) {
	switch {
	case err == nil, errors.Is(err, ErrConflict): // somebody else renewed it, which is as good
		delete(r.logged, record.Name)
	case ctx.Err() != nil:
	case r.logged[record.Name] != err.Error():
		r.logged[record.Name] = err.Error()
		r.options.Logger.ErrorContext(ctx, "client identity is due and cannot be renewed; trying again",
			slog.Any("identity", record), slog.Any("error", err))
	}
}
