package dispatcher

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/handfast/handfast/pkg/alert"
	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/mtls"
)

// An endpoint with an activation gets no byte of an event until its receiver has agreed:
//
//	pending ── asked, now and then: it agrees ──▶ active ── an answer to a message, or to a probe, shows that it does not
//	   ▲                                            │      agree any more; its url, our identity or the setting changes;
//	   └────────────────────────────────────────────┘      it was disabled; a person has it asked again
//
// Pending is one more reason for deliveries to stand in the backlog, and is looked after with the others (heal.go): the
// wait between two questions doubles from 5 s to 1 h, and what is known about it stands in the status as a hold.

// answered is what one question has come to.
type answered struct {
	given   endpoint.Activated
	refusal *delivery.Verdict
	// said tells that the receiver itself has not agreed, and not that it could not be asked.
	said  bool
	proof *mtls.Proof
	// reused tells that the handshake behind proof is an older one.
	reused bool
}

// ask asks a receiver for its consent, over the connections that its messages take.
func (d *Dispatcher) ask(ctx context.Context, to endpoint.Registered) answered {
	ctx, span := d.tracer.Start(ctx, "activate "+to.Key().String(), trace.WithAttributes(
		attribute.String("handfast.endpoint", to.Key().String()), attribute.String("handfast.activation", to.Activation.Kind.String())))
	defer span.End()
	method, header := question(to.Activation)
	verdict, response := d.exchange(ctx, to, d.target, method, header)
	var out answered
	switch {
	case response == nil || verdict.Outcome.Hold(): // there is no answer, or it is a refusal of our certificate
		out.refusal = &verdict
		if !verdict.Outcome.Hold() {
			verdict.Detail = "the receiver could not be asked for its consent: " + verdict.Detail
		}
	default:
		out.given, out.refusal = consent(to, response, time.Now())
		// What says "not now" says nothing about consent.
		out.said = out.refusal != nil && verdict.Outcome != delivery.Throttled && verdict.Outcome != delivery.Unavailable
	}
	if response != nil {
		out.proof, out.reused = response.Proof, response.Reused
	}
	result := delivery.Delivered
	if out.refusal != nil {
		result = standing(out.refusal.Outcome)
		span.SetStatus(codes.Error, out.refusal.Detail)
	}
	span.SetAttributes(attribute.String("handfast.outcome", result.String()))
	d.meters.activations.Add(ctx, 1, metric.WithAttributes(
		attribute.String("kind", to.Activation.Kind.String()), attribute.String("outcome", result.String())))
	return out
}

// standing is the outcome that an endpoint stands under while it is not active: what it is about a certificate says more
// than that consent is missing.
func standing(o delivery.Outcome) delivery.Outcome {
	if o.Hold() {
		return o
	}
	return delivery.NotActivated
}

// activate asks a receiver that has not agreed, or is held, and notes its answer.
func (d *Dispatcher) activate(ctx context.Context, to endpoint.Registered) {
	answer := d.ask(ctx, to)
	if ctx.Err() != nil {
		return
	}
	d.reviews.note(to.Key(), answer.refusal)
	verdict := delivery.Verdict{Outcome: delivery.Delivered}
	if answer.refusal != nil {
		verdict = *answer.refusal
		verdict.Outcome = standing(verdict.Outcome)
		d.notAgreed(ctx, to, answer)
	} else {
		d.agreed(ctx, to, answer.given)
	}
	d.tellOutcome(to, verdict, answer.proof, alert.Evidence{Detail: verdict.Detail, Advice: verdict.Advice}, answer.reused)
}

// stillAsks is the endpoint as it is known now, unless it has been deleted, or asks something else by now: then the answer
// says nothing about it.
func (d *Dispatcher) stillAsks(to endpoint.Registered) (current endpoint.Registered, asked bool) {
	current, known := d.endpoints.Get(to.Key())
	return current, known && current.ActivationMark() == to.ActivationMark()
}

// agreed lets deliveries go.
func (d *Dispatcher) agreed(ctx context.Context, to endpoint.Registered, given endpoint.Activated) {
	key := to.Key()
	if _, asked := d.stillAsks(to); !asked {
		return
	}
	d.paces.meet(key, given.Mark, time.Now())
	if to.Activated() {
		given.Since = to.Status.Activation.Since
	}
	note := func(s *endpoint.Status) { s.Activation, s.Held = &given, nil }
	d.endpoints.UpdateStatus(key, note) // first: what the signers let go must find it active here
	if _, err := d.catalogue.UpdateStatus(ctx, key, note); err != nil {
		soon := endpoint.Held{
			Since: time.Now().UTC(), Outcome: delivery.NotActivated.String(), Detail: "the receiver has agreed, but that could not be stored", Next: time.Now().Add(firstProbe).UTC(),
		}
		d.endpoints.UpdateStatus(key, func(s *endpoint.Status) { s.Activation, s.Held = nil, &soon })
		d.wakeHealing()
		d.logger.WarnContext(ctx, "the consent of a receiver could not be stored; asking again", slog.String("endpoint", key.String()), slog.Any("error", err))
		return
	}
	d.strikes.clear(key)
	d.strikes.released(key, time.Now())
	d.logger.InfoContext(ctx, "the receiver has agreed to deliveries; what waits goes out, the oldest first",
		slog.String("endpoint", key.String()), slog.String("said", given.Said), slog.Int("requests_per_minute", given.Rate))
}

// notAgreed keeps deliveries in the backlog until the next question.
func (d *Dispatcher) notAgreed(ctx context.Context, to endpoint.Registered, answer answered) {
	key, now := to.Key(), time.Now()
	held := endpoint.Held{Since: now.UTC()}
	current, asked := d.stillAsks(to)
	if !asked {
		return
	}
	if current.Status.Held != nil {
		held = *current.Status.Held
		held.Probes++
		held.Next = now.Add(min(lastProbe, firstProbe<<min(held.Probes, 16))).UTC()
	} else {
		held.Next = now.Add(d.strikes.patience(key, now)).UTC()
	}
	held.Outcome, held.Detail, held.Advice = standing(answer.refusal.Outcome).String(), answer.refusal.Detail, answer.refusal.Advice
	note := func(s *endpoint.Status) {
		if answer.said && s.Activation != nil && s.Activation.Mark == to.ActivationMark() {
			s.Activation = nil
		}
		s.Held = &held
	}
	d.endpoints.UpdateStatus(key, note)
	d.wakeHealing()
	if _, err := d.catalogue.UpdateStatus(ctx, key, note); err != nil && ctx.Err() == nil {
		d.logger.WarnContext(ctx, "the answer of a receiver that was asked for its consent could not be stored", slog.String("endpoint", key.String()), slog.Any("error", err))
	}
	level := slog.LevelDebug
	if held.Probes == 0 {
		level = slog.LevelWarn
	}
	d.logger.LogAttrs(ctx, level, "endpoint is not active; its deliveries wait", slog.String("endpoint", key.String()), slog.String("outcome", held.Outcome),
		slog.String("detail", held.Detail), slog.String("advice", held.Advice), slog.Time("next", held.Next))
}

// reviews keeps, per endpoint, when a receiver was last asked whether it still agrees, and what it said: a receiver may
// answer 4xx to very many messages.
type reviews struct {
	mu  sync.Mutex
	all map[endpoint.Key]*review
}

type review struct {
	mu      sync.Mutex
	at      time.Time
	refusal *delivery.Verdict
}

const (
	// reviewEvery bounds how often a receiver is asked because of its answers to messages.
	reviewEvery = time.Minute
	maxReviews  = 16_384
)

func (r *reviews) of(key endpoint.Key) *review {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil || len(r.all) >= maxReviews {
		r.all = make(map[endpoint.Key]*review)
	}
	if r.all[key] == nil {
		r.all[key] = &review{}
	}
	return r.all[key]
}

// note keeps an answer that was asked for otherwise. Consent says nothing about why a message is turned down later: that
// is asked when it happens.
func (r *reviews) note(key endpoint.Key, refusal *delivery.Verdict) {
	known := r.of(key)
	known.mu.Lock()
	defer known.mu.Unlock()
	known.at, known.refusal = time.Time{}, refusal
	if refusal != nil {
		known.at = time.Now()
	}
}

// reconsider asks a receiver that has turned a message down whether it still agrees to deliveries, before the message is
// given up: that it has withdrawn its consent is no fault of the message.
func (d *Dispatcher) reconsider(ctx context.Context, r *result) {
	if r.to.Activation.Kind != endpoint.CloudEventsActivation || r.verdict.Outcome != delivery.Rejected || r.verdict.Status < http.StatusBadRequest {
		return
	}
	known := d.reviews.of(r.to.Key())
	known.mu.Lock() // one asks, the others wait for the answer
	defer known.mu.Unlock()
	if time.Since(known.at) >= reviewEvery {
		answer := d.ask(ctx, r.to)
		if ctx.Err() != nil {
			return
		}
		known.at, known.refusal = time.Now(), answer.refusal
		switch {
		case answer.refusal == nil:
			d.agreed(ctx, r.to, answer.given)
		case answer.said:
			d.notAgreed(ctx, r.to, answer)
		}
	}
	if known.refusal == nil {
		return
	}
	status := r.verdict.Status
	r.verdict = *known.refusal
	r.verdict.Outcome, r.verdict.Status = standing(r.verdict.Outcome), status
}
