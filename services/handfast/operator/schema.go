package operator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/event"
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
			registry.Retire(name, e.Created)
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
	return change, o.storeSchema(ctx, name, change.Kind, document, base)
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

func (o *Operator) storeSchema(ctx context.Context, name schema.Name, kind string, document *schema.Schema, base string) error {
	bucket, err := o.schemaBucket(ctx)
	if err != nil {
		return err
	}
	value, err := schema.Encode(name, document, base)
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
	}
	if errors.Is(err, stream.ErrConflict) {
		return fmt.Errorf("version %d of the schema of %s was applied by somebody else at this moment; look at it and try again", name.Number, name.Kind)
	}
	if err == nil && kind != Created {
		err = bucket.Delete(storing, name.RetiredKey())
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
	if _, err := bucket.Create(storing, name.RetiredKey(), []byte("{}")); err != nil && !errors.Is(err, stream.ErrConflict) {
		return change, fmt.Errorf("delete schema %s: %w", name, explain(err))
	}
	change.Kind = Deleted
	return change, settled(ctx)
}

// Pinned names the endpoints that pin a version.
func (o *Operator) Pinned(ctx context.Context, name schema.Name) ([]string, error) {
	all, err := o.Endpoints(ctx, name.Tenant)
	if err != nil {
		return nil, err // one that cannot be read may pin it, too
	}
	var pinned []string
	for _, e := range all {
		if e.Schema.Pin[name.Type] == name.Number {
			pinned = append(pinned, e.Key().String())
		}
	}
	return pinned, nil
}

// Pins names, by version, the endpoints of a tenant, or of all, that pin it. The error may come with a result, as that of
// [Operator.Endpoints].
func (o *Operator) Pins(ctx context.Context, tenant string) (map[schema.Name][]string, error) {
	all, err := o.Endpoints(ctx, tenant)
	pins := make(map[schema.Name][]string)
	for _, e := range all {
		for kind, number := range e.Schema.Pin {
			name := schema.Name{Kind: schema.Kind{Tenant: e.Tenant, Type: kind}, Number: number}
			pins[name] = append(pins[name], e.Key().String())
		}
	}
	return pins, err
}

// CheckPins says which pins of endpoint documents name no version that is in force: all of them.
func (o *Operator) CheckPins(ctx context.Context, documents []*endpoint.Endpoint) error {
	var problems []error
	for _, e := range documents {
		for _, kind := range sortedKeys(e.Schema.Pin) {
			number := e.Schema.Pin[kind]
			v, err := o.FindSchema(ctx, schema.Kind{Tenant: e.Tenant, Type: kind}, number)
			var missing *NotFoundError
			switch {
			case errors.As(err, &missing):
				problems = append(problems, fmt.Errorf("endpoint %s: schema.pin: %w", e.Key(), err))
			case err != nil:
				return err
			case v.State() != "active":
				problems = append(problems, fmt.Errorf("endpoint %s: schema.pin: version %d of the schema of %s is %s; pin one that is active", e.Key(), number, v.Kind, v.State()))
			}
		}
	}
	return errors.Join(problems...)
}

// Checked is what a sample event would come to.
type Checked struct {
	Schema string `json:"schema"`
	// Version is what it was checked against; 0 when no schema is in force for it.
	Version    int    `json:"version,omitempty"`
	DataSchema string `json:"dataschema,omitempty"`
	// Reasons are everything that is wrong; none when it passes.
	Reasons []string `json:"reasons,omitempty"`
	// Pins are the endpoints that want it and pin another version.
	Pins []CheckedPin `json:"pins,omitempty"`
}

// CheckedPin is the same for one endpoint.
type CheckedPin struct {
	Endpoint string   `json:"endpoint"`
	Version  int      `json:"version"`
	Reasons  []string `json:"reasons,omitempty"`
}

// Passes tells that nothing is wrong, for any endpoint.
func (c Checked) Passes() bool {
	for _, p := range c.Pins {
		if len(p.Reasons) > 0 {
			return false
		}
	}
	return len(c.Reasons) == 0
}

// CheckEvent checks an event as signers would now, without publishing it.
func (o *Operator) CheckEvent(ctx context.Context, e event.Event) (Checked, error) {
	kind := schema.Kind{Tenant: e.Tenant(), Type: e.Type()}
	out := Checked{Schema: kind.String()}
	registry, err := o.Schemas(ctx, e.Tenant())
	if err != nil {
		return out, err
	}
	verdict, err := registry.Judge(e, everything())
	if violation, ok := errors.AsType[*schema.ViolationError](err); ok {
		if violation.Version != nil {
			out.Version = violation.Version.Number
		}
		out.Reasons = violation.Reasons()[1:]
		return out, nil
	}
	if err != nil || verdict.Version == nil {
		return out, err //nolint:wrapcheck // says what and what to do
	}
	out.Version, out.DataSchema = verdict.Version.Number, verdict.DataSchema
	all, err := o.Endpoints(ctx, e.Tenant())
	if err != nil {
		return out, err
	}
	for _, to := range all {
		number, pins := to.Schema.Pin[e.Type()]
		if wanted, err := to.Match(e); err != nil || !wanted || !pins {
			continue
		}
		pin := CheckedPin{Endpoint: to.Key().String(), Version: number}
		_, err := verdict.Pin(number)
		if violation, ok := errors.AsType[*schema.ViolationError](err); ok {
			pin.Reasons = violation.Reasons()[1:]
		} else if err != nil {
			pin.Reasons = []string{err.Error()}
		}
		out.Pins = append(out.Pins, pin)
	}
	return out, nil
}
