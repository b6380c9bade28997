package dispatcher

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/rotation"
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
		stands := d.endpoints.UpdateStatus(key, func(s *endpoint.Status) {
			if s.Held == nil { // another attempt may have shown it at this moment
				s.Held = r.hold
			}
		})
		r.hold = stands.Held
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
		stands, err := d.catalogue.Hold(ctx, key, *r.hold)
		if err != nil {
			return err //nolint:wrapcheck // says what and where already
		}
		d.endpoints.UpdateStatus(key, func(s *endpoint.Status) { s.Held = stands.Held })
	case r.freed:
		d.letGo(ctx, key, "a delivery got through")
	}
	return nil
}

// letGo lets an endpoint's deliveries go again.
func (d *Dispatcher) letGo(ctx context.Context, key endpoint.Key, why string) {
	now, ok := d.endpoints.Get(key)
	if !ok || now.Status.Held == nil || !now.Activated() {
		return // deleted, disabled or released meanwhile, or it is not a certificate that keeps it: not ours to change
	}
	d.endpoints.UpdateStatus(key, func(s *endpoint.Status) { s.Held = nil }) // first: what the signers let go must find it released here
	if err := d.catalogue.Release(ctx, key); err != nil {
		// Held here as it is in the store, or nobody would try again.
		soon := *now.Status.Held
		soon.Next = time.Now().Add(firstProbe).UTC()
		d.endpoints.UpdateStatus(key, func(s *endpoint.Status) {
			if s.Held == nil {
				s.Held = &soon
			}
		})
		d.wakeHealing()
		d.logger.WarnContext(ctx, "endpoint could not be released; trying again", slog.String("endpoint", key.String()), slog.Any("error", err))
		return
	}
	d.strikes.clear(key)
	d.strikes.released(key, time.Now())
	d.logger.InfoContext(ctx, "endpoint is no longer held; its deliveries go out, the oldest first", slog.String("endpoint", key.String()), slog.String("why", why))
}
