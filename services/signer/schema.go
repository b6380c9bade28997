package signer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/schema"
	"github.com/handfast/handfast/pkg/stream"
)

// What a schema does to an event, on its way from match to fan out:
//
//	no schema in force ───────────────────────────────▶ as it was published
//	breaks it ─────────▶ one dead letter, no endpoint
//	schema unusable ───▶ a record on RETRIES for each endpoint, looked at again every schemaPause
//	passes ─────┬─ endpoint pins another version ──┬─ breaks that ──▶ a dead letter of that delivery alone
//	            │                                  ├─ unusable ─────▶ a record on RETRIES for that endpoint
//	            └──────────────────────────────────┴─ passes ───────▶ dataschema names the version
//
// What dataschema says is decided once, at the first attempt, and travels with the delivery from then on: in the request's
// headers and in the records that stand for it. A record without it is decided anew, by the time of the event, which
// gives the same.

// schemaPause is how long what needs an unusable schema waits before it is looked at again. It waits on RETRIES and not
// with the broker's consumer, whose room belongs to everybody.
const schemaPause = time.Minute

// judge checks an event against its schema, and lets its body name it.
func (s *Signer) judge(ctx context.Context, e *stored) error {
	if err := s.schemas.sure(ctx, e.at); err != nil {
		return err
	}
	verdict, err := s.schemas.registry.Judge(e.Event, e.at)
	if err != nil || verdict.Version == nil {
		return err //nolint:wrapcheck // typed, and says what
	}
	e.verdict = verdict
	e.payload, err = e.named(verdict.DataSchema)
	return err
}

// named is the payload with a dataschema that was decided; what is empty leaves it as it was published.
func (e *stored) named(dataschema string) (payload, error) {
	content := e.payload
	if dataschema == "" || content.schema == dataschema {
		return content, nil
	}
	content.schema = dataschema
	if dataschema == schema.AsPublished || dataschema == e.DataSchema() {
		return content, nil
	}
	named, err := e.WithDataSchema(dataschema)
	if err != nil {
		return payload{}, fmt.Errorf("name the schema of the event: %w", err)
	}
	if content.body, content.content, err = named.Body(); err != nil {
		return payload{}, fmt.Errorf("build body: %w", err)
	}
	return content, nil
}

// admit checks an event and returns the endpoints that get it. A *[schema.ViolationError] is for the event as a whole;
// with any other error nothing is decided, and the event comes again.
func (s *Signer) admit(ctx context.Context, e *stored, matched []endpoint.Registered) ([]endpoint.Registered, error) {
	err := s.judge(ctx, e)
	if unusable, ok := errors.AsType[*schema.UnusableError](err); ok {
		return nil, s.putOffAll(ctx, e, matched, unusable)
	}
	if err != nil || e.verdict.Version == nil {
		return matched, err
	}
	admitted := make([]endpoint.Registered, 0, len(matched))
	for some := range slices.Chunk(matched, fanWidth) {
		goes, err := s.admitSome(ctx, e, some)
		if err != nil {
			return nil, err
		}
		admitted = append(admitted, goes...)
	}
	return admitted, nil
}

// putOffAll lets an event's deliveries wait until its schema can be used.
func (s *Signer) putOffAll(ctx context.Context, e *stored, matched []endpoint.Registered, cause *schema.UnusableError) error {
	pending := make([]stream.Pending, 0, len(matched))
	for _, to := range matched {
		d := first(e, to)
		d.Schema = "" // to be decided then
		msg, id, err := s.putOffMessage(ctx, d, cause)
		if err != nil {
			return err
		}
		pending = append(pending, s.publisher.Send(msg, id))
	}
	for _, p := range pending {
		if _, err := p.Wait(ctx); err != nil {
			return fmt.Errorf("put off: %w", err)
		}
	}
	return nil
}

func (s *Signer) putOffMessage(ctx context.Context, d delivery.Delivery, cause *schema.UnusableError) (*nats.Msg, string, error) {
	s.logger.WarnContext(ctx, "delivery waits, because its schema cannot be used", slog.String("delivery", string(d.ID)),
		slog.String("endpoint", d.Endpoint.String()), slog.Any("error", cause))
	record := delivery.NewRetry(d, delivery.Step{Attempt: d.Attempt, Resigned: d.Resigned + 1}, delivery.StaleSignature, "")
	msg, id, err := s.topology.ScheduleMessage(record, s.clock.At(time.Now().Add(schemaPause)), traceparent(ctx))
	if err != nil {
		return nil, "", fmt.Errorf("put off %s: %w", d.ID, err)
	}
	return msg, id, nil
}

// putOff lets one delivery wait on, and ends it when its event is about to age out.
func (s *Signer) putOff(ctx context.Context, d delivery.Delivery, as payload, cause *schema.UnusableError) error {
	if time.Since(d.First) > stream.Horizon {
		return s.end(ctx, d, &as, "its event is about to age out, and the schema could not be used in all that time: "+cause.Error())
	}
	msg, id, err := s.putOffMessage(ctx, d, cause)
	if err != nil {
		return err
	}
	_, err = s.publisher.Send(msg, id).Wait(ctx)
	return err //nolint:wrapcheck // says what and where already, or is nil
}

// violate keeps an event that breaks its schema as one dead letter, from which a person can deliver it later.
func (s *Signer) violate(ctx context.Context, msg jetstream.Msg, e *stored, cause *schema.ViolationError) error {
	letter := delivery.DeadLetter{
		Tenant: e.Tenant(), Subject: msg.Subject(), Event: e.sequence, First: e.at, At: time.Now().UTC(),
		Header: map[string][]string(msg.Headers()), Body: delivery.NewBody(msg.Data()), Reasons: cause.Reasons(),
	}
	s.logger.WarnContext(ctx, "refused an event that breaks its schema; `handfast deadletter show` lists everything that is wrong",
		slog.String("tenant", e.Tenant()), slog.String("type", e.Type()), slog.Uint64("event", e.sequence), slog.Int("problems", len(cause.Problems)))
	return s.bury(ctx, letter, "event-"+strconv.FormatUint(e.sequence, 10))
}

// decided is the payload of a later attempt: the same as that of the first. Where nothing was decided before, because
// the schema could not be used, or because the record comes from a person, it is decided by the time of the event. The
// errors are those of [schema.Registry.Judge].
func (s *Signer) decided(ctx context.Context, e *stored, record delivery.Retry) (payload, error) {
	if record.Schema == "" {
		return s.decide(ctx, e, record.Due().Endpoint)
	}
	kind := schema.Kind{Tenant: e.Tenant(), Type: e.Type()}
	if record.Schema != schema.AsPublished && record.Schema != e.DataSchema() && !s.schemas.registry.Knows(kind, record.Schema) {
		// A record is written by others, too: nothing gets into a body that is not one of the tenant's own schemas.
		return e.payload, &schema.UnusableError{Name: schema.Name{Kind: kind}, Err: fmt.Errorf("the delivery names %s, which is not known", strings.ToValidUTF8(record.Schema, "·"))}
	}
	return e.named(record.Schema)
}

func (s *Signer) decide(ctx context.Context, e *stored, key endpoint.Key) (payload, error) {
	if err := s.judge(ctx, e); err != nil || e.verdict.Version == nil {
		return e.payload, err
	}
	to, err := s.endpoint(ctx, key)
	if err != nil {
		return e.payload, err
	}
	number, pins := to.Schema.Pin[e.Type()]
	if !pins {
		return e.payload, nil
	}
	dataschema, err := e.verdict.Pin(number)
	if err != nil {
		return e.payload, err //nolint:wrapcheck // typed, and says what
	}
	return e.named(dataschema)
}

// unfit handles what a schema says against a delivery; handled is false for every other error.
func (s *Signer) unfit(ctx context.Context, d delivery.Delivery, as payload, cause error) (handled bool, err error) {
	if violation, ok := errors.AsType[*schema.ViolationError](cause); ok {
		return true, s.endViolation(ctx, d, as, violation)
	}
	if unusable, ok := errors.AsType[*schema.UnusableError](cause); ok {
		return true, s.putOff(ctx, d, as, unusable)
	}
	return false, nil
}

// schemaSays tells that a schema has something against a delivery.
func schemaSays(err error) bool {
	_, violation := errors.AsType[*schema.ViolationError](err)
	_, unusable := errors.AsType[*schema.UnusableError](err)
	return violation || unusable
}
