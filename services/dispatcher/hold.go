package dispatcher

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/rotation"
	"github.com/handfast/handfast/pkg/stream"
)

// A certificate that one side does not accept concerns every delivery to the endpoint, so that not each of them has to
// find it out for itself:
//
//	working ── an attempt shows it ──▶ held: deliveries stand in the backlog, a handshake is tried now and then
//	   ▲                                  │
//	   └── a handshake is accepted, or an attempt that was under way got through: out they go, the oldest first

const (
	// firstProbe and lastProbe bound the wait between two handshakes that are tried with a held endpoint; it doubles.
	firstProbe = 5 * time.Second
	lastProbe  = delivery.HoldInterval
	// healInterval is how often held endpoints are looked at for a reason to try at once: our certificate may have
	// changed.
	healInterval = 15 * time.Second
	// healers bounds the handshakes that are tried at a time.
	healers = 8
	// manyStrikes is how often in a row something uncertain must happen before it holds the endpoint.
	manyStrikes = 3
	maxStrikes  = 16_384
)

// strikes counts, per endpoint, the failures in a row that may have been a mishap of one connection, and the holds that
// followed soon after a release: a receiver may accept every handshake and still refuse every message.
type strikes struct {
	mu       sync.Mutex
	count    map[endpoint.Key]int
	releases map[endpoint.Key]release
}

type release struct {
	at       time.Time
	relapses int
}

// relapseTime is how long after its release an endpoint that must be held again counts as not healed.
const relapseTime = 2 * lastProbe

// released notes that an endpoint's deliveries go again.
func (s *strikes) released(key endpoint.Key, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.releases == nil || len(s.releases) >= maxStrikes {
		s.releases = make(map[endpoint.Key]release)
	}
	r := s.releases[key]
	r.at = now
	s.releases[key] = r
}

// patience is how long to wait before the first probe of a hold: longer with each relapse.
func (s *strikes) patience(key endpoint.Key, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, known := s.releases[key]
	if !known {
		return firstProbe
	}
	if now.Sub(r.at) > relapseTime {
		delete(s.releases, key)
		return firstProbe
	}
	r.relapses++
	s.releases[key] = r
	return min(lastProbe, firstProbe<<min(r.relapses, 16))
}

// out reports whether the verdict says enough about the endpoint, and not about one connection only.
func (s *strikes) out(key endpoint.Key, v delivery.Verdict) bool {
	if v.Outcome != delivery.HandshakeFailed && v.Origin != delivery.Inferred {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count == nil || len(s.count) >= maxStrikes {
		s.count = make(map[endpoint.Key]int)
	}
	s.count[key]++
	return s.count[key] >= manyStrikes
}

func (s *strikes) clear(key endpoint.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.count) > 0 {
		delete(s.count, key)
	}
}

// fallBack finds out whether an attempt ends the next identity of a rotation for its endpoint. In the middle of a
// rotation 401 and 403 count, too: many receivers let every certificate in and refuse the name on it. Whether it was the
// name or the message shows at once, because the attempt is repeated under the identity before.
func (d *Dispatcher) fallBack(ctx context.Context, r *result) {
	forbidden := r.verdict.Outcome == delivery.Rejected && (r.verdict.Status == http.StatusUnauthorized || r.verdict.Status == http.StatusForbidden)
	if r.verdict.Outcome != delivery.ClientCertificateRefused && !forbidden {
		return
	}
	basis := basisOf(r.verdict.Origin)
	if forbidden {
		basis = rotation.Inferred
	}
	r.fell = d.presenting.board.Fell(rotation.Fall{
		Identity: r.to.TLS.Identity, Endpoint: r.to.Key(), Presented: r.presented, Basis: basis, Reason: r.verdict.Detail, Advice: r.verdict.Advice,
	}, time.Now())
	first := r.fell
	if !first {
		// Under way while another one fell, or while the rotation ended: what the endpoint is presented now decides.
		now := d.presenting.board.Presents(r.to.TLS.Identity, r.to.Key())
		r.fell = r.presented != "" && now != "" && now != r.presented
	}
	if !r.fell {
		return
	}
	if forbidden {
		r.verdict.Outcome, r.verdict.Origin = delivery.ClientCertificateRefused, delivery.Inferred
		r.verdict.Detail += " to identity " + r.presented + " in the middle of a rotation"
		r.verdict.Advice = "It is tried again at once with the other identity; let the receiver accept the name of " + r.presented
	}
	if !first {
		return
	}
	d.logger.WarnContext(ctx, "endpoint refuses the next identity after all and is presented the one before",
		slog.String("endpoint", r.to.Key().String()), slog.String("refused", r.presented), slog.String("detail", r.verdict.Detail))
}

// learn notes what an attempt says about certificates: whether the endpoint must wait, or need not any more.
func (d *Dispatcher) learn(ctx context.Context, r *result) {
	if r.fell {
		return // about the next identity, not about the endpoint
	}
	d.tell(ctx, r)
	d.watchHold(r)
}

// watchHold notes, in memory first, what an attempt says about its endpoint: what is queued behind it must not find out
// again.
func (d *Dispatcher) watchHold(r *result) {
	key := r.signed.Delivery.Endpoint
	now, ok := d.endpoints.Get(key)
	if !ok {
		return
	}
	switch {
	case r.verdict.Outcome == delivery.Delivered:
		d.strikes.clear(key)
		r.freed = now.Status.Held != nil
	case !r.verdict.Outcome.Hold():
	case now.Status.Held != nil:
		r.hold = now.Status.Held
	case d.strikes.out(key, r.verdict):
		r.hold = &endpoint.Held{
			Since: r.began.UTC(), Outcome: r.verdict.Outcome.String(), Detail: r.verdict.Detail, Advice: r.verdict.Advice,
			Next: time.Now().Add(d.strikes.patience(key, time.Now())).UTC(),
		}
		d.endpoints.SetStatus(key, endpoint.Status{Held: r.hold})
		d.wakeHealing()
	}
}

// settleHold stores what watchHold has noted.
func (d *Dispatcher) settleHold(ctx context.Context, r *result) error {
	key := r.signed.Delivery.Endpoint
	switch {
	case r.hold != nil:
		if r.hold.Probes > 0 {
			return nil // held before, and probed since
		}
		return d.catalogue.Hold(ctx, key, *r.hold) //nolint:wrapcheck // says what and where already
	case r.freed:
		d.letGo(ctx, key, "a delivery got through")
	}
	return nil
}

// letGo lets an endpoint's deliveries go again.
func (d *Dispatcher) letGo(ctx context.Context, key endpoint.Key, why string) {
	now, ok := d.endpoints.Get(key)
	if !ok || now.Status.Held == nil {
		return // deleted, disabled or released meanwhile: not ours to change
	}
	d.endpoints.SetStatus(key, endpoint.Status{}) // first: what the signers let go must find it released here
	if err := d.catalogue.Release(ctx, key); err != nil {
		// Held here as it is in the store, or nobody would try again.
		soon := *now.Status.Held
		soon.Next = time.Now().Add(firstProbe).UTC()
		d.endpoints.SetStatus(key, endpoint.Status{Held: &soon})
		d.wakeHealing()
		d.logger.WarnContext(ctx, "endpoint could not be released; trying again", slog.String("endpoint", key.String()), slog.Any("error", err))
		return
	}
	d.strikes.clear(key)
	d.strikes.released(key, time.Now())
	d.logger.InfoContext(ctx, "endpoint is no longer held; its deliveries go out, the oldest first", slog.String("endpoint", key.String()), slog.String("why", why))
}

// healing is what the last probe of an endpoint was made with: anything new is a reason to try at once.
type healing struct {
	mu   sync.Mutex
	with map[endpoint.Key]probed
}

type probed struct {
	revision uint64
	identity string
	busy     bool
}

// heal tries the handshake with held endpoints now and then, those of the partitions that this dispatcher is first for.
func (d *Dispatcher) heal(ctx context.Context) {
	look := time.NewTimer(0)
	defer look.Stop()
	var probes sync.WaitGroup
	defer probes.Wait()
	room := make(chan struct{}, healers)
	h := &healing{with: make(map[endpoint.Key]probed)}
	for {
		moved := d.members.Changed()
		select {
		case <-look.C:
		case <-d.healing:
		case <-moved:
		case <-ctx.Done():
			return
		}
		held := d.endpoints.Held()
		h.forget(held)
		if len(held) == 0 {
			look.Stop() // until somebody says otherwise
			continue
		}
		wait := healInterval
		for _, to := range held {
			if to.Paused || to.Disabled() || d.members.Rank(stream.Partition(to.Key(), d.topology.Partitions)) != 0 {
				continue
			}
			select {
			case room <- struct{}{}:
			default: // all hands are full; asked first, because due takes note of the reason
				wait = min(wait, time.Second)
				continue
			}
			due, later := h.due(to, d.identityOf(to), time.Now())
			if !due {
				<-room
				wait = min(wait, later)
				continue
			}
			probes.Go(func() {
				defer func() { <-room }()
				defer d.wakeHealing()
				defer h.done(to.Key())
				d.tryHeld(ctx, to)
			})
		}
		look.Reset(wait)
	}
}

// wakeHealing has the held endpoints looked at now.
func (d *Dispatcher) wakeHealing() {
	select {
	case d.healing <- struct{}{}:
	default:
	}
}

// due takes the endpoint when it is time for a probe, or says when to look again.
func (h *healing) due(to endpoint.Registered, identity string, now time.Time) (due bool, later time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	last, known := h.with[to.Key()]
	changed := known && (last.revision != to.Revision || last.identity != identity)
	if last.busy {
		return false, healInterval
	}
	// A time further away than any wait was set by a clock that is wrong.
	if until := to.Status.Held.Next.Sub(now); until > 0 && until <= lastProbe && !changed {
		if !known {
			h.with[to.Key()] = probed{revision: to.Revision, identity: identity}
		}
		return false, to.Status.Held.Next.Sub(now)
	}
	h.with[to.Key()] = probed{revision: to.Revision, identity: identity, busy: true}
	return true, 0
}

func (h *healing) done(key endpoint.Key) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if last, ok := h.with[key]; ok {
		last.busy = false
		h.with[key] = last
	}
}

// forget drops what is no longer held, so that nothing grows.
func (h *healing) forget(held []endpoint.Registered) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.with) == 0 {
		return
	}
	kept := make(map[endpoint.Key]probed, len(held))
	for _, to := range held {
		if last, ok := h.with[to.Key()]; ok {
			kept[to.Key()] = last
		}
	}
	h.with = kept
}

// identityOf names the identity that an endpoint would be shown now; empty when there is none.
func (d *Dispatcher) identityOf(to endpoint.Registered) string {
	target, failure := d.target(to)
	if failure != nil {
		return ""
	}
	identity, err := target.Identity.Identity()
	if err != nil {
		return ""
	}
	return identity.Generation()
}

// tryHeld makes one handshake with a held endpoint, and an exchange that carries no message.
func (d *Dispatcher) tryHeld(ctx context.Context, to endpoint.Registered) {
	verdict, response := d.knock(ctx, to, d.target)
	if ctx.Err() != nil {
		return
	}
	if response != nil && !verdict.Outcome.Hold() {
		d.letGo(ctx, to.Key(), "a handshake was accepted")
		return
	}
	now, ok := d.endpoints.Get(to.Key())
	if !ok || now.Status.Held == nil {
		return
	}
	held := *now.Status.Held
	held.Probes++
	held.Outcome, held.Detail, held.Advice = verdict.Outcome.String(), verdict.Detail, verdict.Advice
	held.Next = time.Now().Add(min(lastProbe, firstProbe<<min(held.Probes, 16))).UTC()
	d.endpoints.SetStatus(to.Key(), endpoint.Status{Held: &held})
	if err := d.catalogue.Hold(ctx, to.Key(), held); err != nil && ctx.Err() == nil {
		d.logger.WarnContext(ctx, "the result of a probe could not be stored", slog.String("endpoint", to.Key().String()), slog.Any("error", err))
	}
	d.logger.DebugContext(ctx, "endpoint is still held", slog.String("endpoint", to.Key().String()), slog.String("outcome", held.Outcome), slog.String("detail", held.Detail))
}

// knock makes a real handshake and an OPTIONS exchange, in the shape of the CloudEvents web hook specification (section
// 4.1). It carries no byte of a message. Any HTTP answer that is no refusal says that the receiver has accepted our
// certificate.
func (d *Dispatcher) knock(ctx context.Context, to endpoint.Registered, aim func(endpoint.Registered) (mtls.Target, *delivery.Verdict)) (delivery.Verdict, *mtls.Response) {
	target, failure := aim(to)
	if failure != nil {
		return *failure, nil
	}
	ctx, cancel := context.WithTimeout(ctx, to.Limits.Timeout)
	defer cancel()
	response, err := d.pool.Do(ctx, target, &mtls.Request{
		Method: http.MethodOptions, Path: to.URL.RequestURI(), Host: to.URL.Host, Header: http.Header{"WebHook-Request-Origin": {"handfast"}},
	})
	r := &result{}
	r.fill(target, response, err)
	if err != nil {
		return r.verdict, nil
	}
	return r.verdict, response
}
