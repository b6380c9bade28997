package dispatcher

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/stream"
)

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
		held := d.waiting()
		h.forget(held)
		h.order(held)
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
				d.try(ctx, to)
			})
		}
		look.Reset(wait)
	}
}

// waiting lists the endpoints to which nothing goes until an exchange without a message has shown that it can.
func (d *Dispatcher) waiting() []endpoint.Registered {
	all := d.endpoints.Held()
	for _, to := range d.endpoints.Asking() {
		if to.Status.Held == nil {
			all = append(all, to)
		}
	}
	return all
}

func (d *Dispatcher) try(ctx context.Context, to endpoint.Registered) {
	if to.Activation.Kind == endpoint.NoActivation {
		d.tryHeld(ctx, to)
		return
	}
	d.activate(ctx, to)
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
	until := time.Duration(0) // for an activation that has not been tried yet
	if to.Status.Held != nil {
		until = to.Status.Held.Next.Sub(now)
		if to.Activation.Kind == endpoint.NoActivation && to.Status.Held.Outcome == delivery.NotActivated.String() {
			until = 0 // its document asked for consent, and does not any more
		}
	}
	// A time further away than any wait was set by a clock that is wrong.
	if until > 0 && until <= lastProbe && !changed {
		if !known {
			h.with[to.Key()] = probed{revision: to.Revision, identity: identity}
		}
		return false, until
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

// order puts those first whose tenants have the fewest probes under way: receivers that let every probe wait must not keep
// all hands from those of other tenants.
func (h *healing) order(held []endpoint.Registered) {
	h.mu.Lock()
	defer h.mu.Unlock()
	busy := make(map[string]int)
	for key, last := range h.with {
		if last.busy {
			busy[key.Tenant]++
		}
	}
	if len(busy) > 0 {
		slices.SortStableFunc(held, func(a, b endpoint.Registered) int { return cmp.Compare(busy[a.Tenant], busy[b.Tenant]) })
	}
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
	d.endpoints.UpdateStatus(to.Key(), func(s *endpoint.Status) {
		if s.Held != nil && s.Held.Since.Equal(held.Since) {
			s.Held = &held
		}
	})
	stands, err := d.catalogue.Probed(ctx, to.Key(), held)
	switch {
	case err == nil:
		// Another dispatcher may have let it go in the meantime, or hold it for longer than this one knew.
		d.endpoints.UpdateStatus(to.Key(), func(s *endpoint.Status) { s.Held = stands.Held })
	case ctx.Err() == nil:
		d.logger.WarnContext(ctx, "the result of a probe could not be stored", slog.String("endpoint", to.Key().String()), slog.Any("error", err))
	}
	d.logger.DebugContext(ctx, "endpoint is still held", slog.String("endpoint", to.Key().String()), slog.String("outcome", held.Outcome), slog.String("detail", held.Detail))
}

// knock makes a real handshake and an OPTIONS exchange, in the shape of the CloudEvents web hook specification (section
// 4.1). It carries no byte of a message. Any HTTP answer that is no refusal says that the receiver has accepted our
// certificate.
func (d *Dispatcher) knock(ctx context.Context, to endpoint.Registered, aim func(endpoint.Registered) (mtls.Target, *delivery.Verdict)) (delivery.Verdict, *mtls.Response) {
	name := to.Activation.Origin
	if name == "" {
		name = "handfast"
	}
	return d.exchange(ctx, to, aim, http.MethodOptions, http.Header{originHeader: {name}})
}

// exchange makes a request without a body to where an endpoint's messages go, on the same connections. There is a response
// only where the receiver has given an HTTP answer that does not refuse our certificate.
func (d *Dispatcher) exchange(
	ctx context.Context, to endpoint.Registered, aim func(endpoint.Registered) (mtls.Target, *delivery.Verdict), method string, header http.Header,
) (delivery.Verdict, *mtls.Response) {
	target, failure := aim(to)
	if failure != nil {
		return *failure, nil
	}
	ctx, cancel := context.WithTimeout(ctx, to.Limits.Timeout)
	defer cancel()
	response, err := d.pool.Do(ctx, target, &mtls.Request{Method: method, Path: to.URL.RequestURI(), Host: to.URL.Host, Header: header})
	r := &result{}
	r.fill(target, response, err)
	if err != nil {
		return r.verdict, nil
	}
	return r.verdict, response
}
