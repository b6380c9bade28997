package operator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/schema"
	"github.com/handfast/handfast/pkg/stream"
)

// Kinds of change of a schema, besides [Created], [Unchanged], [Changed] and [Deleted].
const (
	// Restored is a version that had been deleted, applied again with the same content.
	Restored = "restored"
)

// settleTime is how long a change waits before it tells that it is in force: what the broker may be behind our own clock
// does not matter, because both times are taken from its answer on.
const settleTime = schema.Delay + 50*time.Millisecond

// everything is a time at which all that is stored now is in force.
func everything() time.Time { return time.Now().Add(time.Hour) }

// SchemaChange is what happened to one version of a schema, or would happen.
type SchemaChange struct {
	Schema  string   `json:"schema"`
	Version int      `json:"version"`
	Kind    string   `json:"change"`
	URI     string   `json:"uri"`
	Notes   []string `json:"notes,omitempty"`
}

func (o *Operator) schemaBucket(ctx context.Context) (*stream.Bucket, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	bucket, err := stream.OpenBucket(ctx, o.js, stream.SchemaBucket, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, explain(err)
	}
	return bucket, nil
}

// Schemas reads the schemas of a tenant, or of all when it is empty.
func (o *Operator) Schemas(ctx context.Context, tenant string) (*schema.Registry, error) {
	filter := ">"
	if tenant != "" {
		filter = tenant + ".>"
	}
	return o.readSchemas(ctx, filter)
}

func (o *Operator) schemasOf(ctx context.Context, kind schema.Kind) (*schema.Set, error) {
	registry, err := o.readSchemas(ctx, kind.Keys())
	if err != nil {
		return nil, err
	}
	return registry.Set(kind), nil
}

func (o *Operator) readSchemas(ctx context.Context, filter string) (*schema.Registry, error) {
	bucket, err := o.schemaBucket(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 6*requestTime)
	defer cancel()
	entries, err := bucket.List(ctx, filter)
	if err != nil {
		return nil, explain(err)
	}
	registry := &schema.Registry{}
	for _, e := range entries {
		name, retired, err := schema.ParseKey(e.Key)
		switch {
		case err != nil: // signers say so
		case retired:
			registry.SetRetirement(name, schema.ReadRetirement(e.Value, e.Created))
		default:
			registry.Put(schema.Read(name, e.Value, e.Created))
		}
	}
	return registry, nil
}

// ApplySchema stores a schema as one version, or as the next one for 0. A version that is there never changes: with the
// same content nothing happens, and with another one it is refused. base is that of [schema.Name.URI]. It returns when the
// version is in force; with dry nothing is stored.
func (o *Operator) ApplySchema(ctx context.Context, kind schema.Kind, number int, document *schema.Schema, base string, dry bool) (SchemaChange, error) {
	set, err := o.schemasOf(ctx, kind)
	if err != nil {
		return SchemaChange{}, err
	}
	if number == 0 {
		number = set.Next()
		if newest := set.Newest(everything()); newest != nil && newest.Same(document) {
			number = newest.Number
		}
	}
	name := schema.Name{Kind: kind, Number: number}
	change := SchemaChange{Schema: kind.String(), Version: number, Kind: Created, URI: name.URI(base)}
	if number > schema.MaxVersion {
		return change, fmt.Errorf("schema %s: version %d is too high; %d is the last", kind, number, schema.MaxVersion)
	}
	if held := set.Version(number); held != nil {
		if change.Kind, err = again(held, document, set.Next()); err != nil {
			return change, err
		}
		if change.Kind != Changed {
			change.URI = held.URI
			if held.URI != name.URI(base) {
				change.Notes = append(change.Notes, "its URI stays "+held.URI+": it is chosen once")
			}
		}
	}
	if newest := set.Newest(everything()); newest != nil && newest.Number > number {
		change.Notes = append(change.Notes, fmt.Sprintf("events go by version %d, unless they name this one by their dataschema or an endpoint pins it", newest.Number))
	}
	if dry || change.Kind == Unchanged {
		return change, nil
	}
	var since time.Time
	if held := set.Version(number); change.Kind == Changed && held.State() != Deleted {
		since = held.Applied
	}
	return change, o.storeSchema(ctx, name, change.Kind, document, base, since)
}

// again says what applying a version means that is there.
func again(held *schema.Version, document *schema.Schema, free int) (kind string, err error) {
	switch {
	case held.Problem() != nil:
		return Changed, nil //nolint:nilerr // nothing was ever delivered under it, and it is mended
	case !held.Same(document):
		return "", fmt.Errorf("version %d of the schema of %s is there with another content, and a version never changes, because receivers rely on it; apply this one as version %d (--version %d, or none)",
			held.Number, held.Kind, free, free)
	case held.State() == Deleted:
		return Restored, nil
	}
	return Unchanged, nil
}

func (o *Operator) storeSchema(ctx context.Context, name schema.Name, kind string, document *schema.Schema, base string, since time.Time) error {
	bucket, err := o.schemaBucket(ctx)
	if err != nil {
		return err
	}
	value, err := schema.EncodeMended(name, document, base, since)
	if err != nil {
		return err //nolint:wrapcheck // says which
	}
	storing, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	switch kind {
	case Created:
		_, err = bucket.Create(storing, name.Key(), value)
	case Changed: // a broken one
		var held stream.Entry
		if held, err = bucket.Get(storing, name.Key()); err == nil {
			_, err = bucket.Update(storing, name.Key(), value, held.Revision)
		}
		if err == nil {
			err = bucket.Delete(storing, name.RetiredKey())
		}
	case Restored:
		err = o.retire(storing, bucket, name, false)
	}
	if errors.Is(err, stream.ErrConflict) {
		return fmt.Errorf("version %d of the schema of %s was applied by somebody else at this moment; look at it and try again", name.Number, name.Kind)
	}
	if err != nil {
		return fmt.Errorf("store schema %s: %w", name, explain(err))
	}
	return settled(ctx)
}

// settled waits until what was stored is in force.
func settled(ctx context.Context) error {
	select {
	case <-time.After(settleTime):
		return nil
	case <-ctx.Done():
		return ctx.Err() //nolint:wrapcheck // the caller stopped it
	}
}

// FindSchema returns one version, the newest for 0, or a [NotFoundError] that names those that exist.
func (o *Operator) FindSchema(ctx context.Context, kind schema.Kind, number int) (*schema.Version, error) {
	set, err := o.schemasOf(ctx, kind)
	if err != nil {
		return nil, err
	}
	found := set.Version(number)
	if number == 0 {
		found = set.Newest(everything())
	}
	if found != nil {
		return found, nil
	}
	missing := &NotFoundError{What: "there is no schema of " + kind.String(), Hint: "`handfast schema list` shows all, and `handfast schema apply -f FILE` makes one"}
	if all := set.Versions(); len(all) > 0 {
		var numbers []string
		for _, v := range all {
			numbers = append(numbers, strconv.Itoa(v.Number)+" ("+v.State()+")")
		}
		missing.What = "the schema of " + kind.String() + " has no version that is in force"
		if number > 0 {
			missing.What = fmt.Sprintf("the schema of %s has no version %d", kind, number)
		}
		missing.Hint = "there is " + strings.Join(numbers, ", ")
	}
	return nil, missing
}

// DeleteSchema takes a version out of force, unless an endpoint pins it. Its number is never given to another content, and
// its document stays readable for those who got events of it.
func (o *Operator) DeleteSchema(ctx context.Context, name schema.Name) (SchemaChange, error) {
	held, err := o.FindSchema(ctx, name.Kind, name.Number)
	if err != nil {
		return SchemaChange{}, err
	}
	change := SchemaChange{Schema: name.Kind.String(), Version: name.Number, Kind: Unchanged, URI: held.URI}
	if held.State() == Deleted {
		return change, nil
	}
	pinned, err := o.Pinned(ctx, name)
	if err != nil {
		return change, err
	}
	if len(pinned) > 0 {
		return change, fmt.Errorf("version %d of the schema of %s is pinned by %s; change schema.pin there first", name.Number, name.Kind, strings.Join(pinned, ", "))
	}
	bucket, err := o.schemaBucket(ctx)
	if err != nil {
		return change, err
	}
	storing, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	if err := o.retire(storing, bucket, name, true); err != nil {
		return change, fmt.Errorf("delete schema %s: %w", name, explain(err))
	}
	change.Kind = Deleted
	return change, settled(ctx)
}

// retire notes that a version is deleted, or restored, on top of what has become of it before.
func (*Operator) retire(ctx context.Context, bucket *stream.Bucket, name schema.Name, deleted bool) error {
	held, err := bucket.Get(ctx, name.RetiredKey())
	if err != nil && !errors.Is(err, stream.ErrNoEntry) {
		return err //nolint:wrapcheck // says what and where already
	}
	var before schema.Retirement
	if err == nil {
		before = schema.ReadRetirement(held.Value, held.Created)
	}
	if deleted != before.At.IsZero() {
		return nil // somebody else was faster
	}
	write := before.Restore
	if deleted {
		write = before.Delete
	}
	value, err := write()
	if err != nil {
		return err //nolint:wrapcheck // says what
	}
	_, err = bucket.Update(ctx, name.RetiredKey(), value, held.Revision)
	return err //nolint:wrapcheck // says what and where already, or is nil
}
