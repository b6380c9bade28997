package alert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/handfast/handfast/pkg/endpoint"
)

// Config is what a desk needs. Everything without a default is required.
type Config struct {
	// Deployment names the deployment: 1 to 64 letters, digits, "-" or "_". It is the same for all its processes,
	// because it is part of every event's identity.
	Deployment string
	Memory     Memory
	Publisher  Publisher
	Logger     *slog.Logger
	// MeterProvider takes the metrics; see the package's description.
	MeterProvider metric.MeterProvider
	// Settle is how long an endpoint must be in trouble before it is told. Default 1 min.
	Settle time.Duration
	// Quiet is how long an endpoint must be without trouble before it counts as healed. Default 5 min.
	Quiet time.Duration
	// Series bounds the series of the metric handfast.certificate.expiry: those that end first are shown. Default 200.
	Series int
}

const (
	// refresh is how often the desk looks up whether another one has told something about an endpoint.
	refresh = 10 * time.Minute
	// forgotten is after how long an endpoint that is held is no longer counted when nothing is tried any more: a day
	// more than an event lives.
	forgotten = 8 * day
	// maxFinished bounds the memory of rotations that need not be looked up again.
	maxFinished = 1024
)

var deploymentPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Desk notices what people should know and tells it once. Make it with [New]; its methods may be called from anywhere
// and never wait for the broker, [Desk.Run] does the work.
type Desk struct {
	config  Config
	lasting persistence
	meters  meters
	wake    chan struct{}

	mu       sync.Mutex
	agenda   agenda
	sights   map[slot]*sight
	roots    map[string][]slot // by subject
	watches  map[endpoint.Key]*watch
	turns    map[string]*turn
	finished map[string]struct{}
}

// New makes a desk. The error tells everything that is missing or wrong.
func New(c Config) (*Desk, error) {
	var problems []error
	if !deploymentPattern.MatchString(c.Deployment) {
		problems = append(problems, fmt.Errorf("alert: deployment %q must be 1 to 64 letters, digits, '-' or '_'", clip(c.Deployment, maxName)))
	}
	for _, need := range []struct {
		name   string
		absent bool
	}{
		{"Memory", c.Memory == nil},
		{"Publisher", c.Publisher == nil},
		{"Logger", c.Logger == nil},
		{"MeterProvider", c.MeterProvider == nil},
	} {
		if need.absent {
			problems = append(problems, fmt.Errorf("alert: Config.%s is missing", need.name))
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if c.Settle <= 0 {
		c.Settle = time.Minute
	}
	if c.Quiet <= 0 {
		c.Quiet = 5 * time.Minute
	}
	if c.Series <= 0 {
		c.Series = 200
	}
	d := &Desk{
		config: c, lasting: persistence{settle: c.Settle, quiet: c.Quiet}, wake: make(chan struct{}, 1),
		sights: make(map[slot]*sight), roots: make(map[string][]slot), watches: make(map[endpoint.Key]*watch), turns: make(map[string]*turn), finished: make(map[string]struct{}),
	}
	if err := d.instrument(c.MeterProvider.Meter(scope)); err != nil {
		return nil, fmt.Errorf("alert: %w", err)
	}
	return d, nil
}

// See takes note of a certificate that is in use now: one that a receiver presented, or one of ours. The certificate
// before it in the same place stops being watched. Call it as often as convenient, also from the hot path; the error
// is that of [Certificate.Check].
func (d *Desk) See(c Certificate) error {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	at := slotOf(c)
	if s, ok := d.sights[at]; ok && s.again(c, now) { // checked before
		return nil
	}
	if err := c.Check(); err != nil {
		return err
	}
	s, ok := d.sights[at]
	if !ok {
		s = &sight{slot: at}
		d.sights[at] = s
		if at.kind == Root {
			d.roots[at.subject] = append(d.roots[at.subject], at)
		}
	}
	s.add(c, now)
	d.plan(s, now)
	return nil
}

// SeeRoots takes note of all roots in the trust of one endpoint; other roots of the endpoint are not watched any more.
// Their Kind and Subject are filled in. The error joins those of [Desk.See]; the other roots are watched all the same.
func (d *Desk) SeeRoots(key endpoint.Key, roots ...Certificate) error {
	d.mu.Lock()
	for _, at := range slices.Clone(d.roots[key.String()]) {
		if !slices.ContainsFunc(roots, func(c Certificate) bool { return c.Fingerprint == at.root }) {
			d.drop(at)
		}
	}
	d.mu.Unlock()
	errs := make([]error, 0, len(roots))
	for _, c := range roots {
		c.Kind, c.Subject = Root, key.String()
		errs = append(errs, d.See(c))
	}
	return errors.Join(errs...)
}

// Outcome takes note of how an attempt ended: the name of its outcome, and what it showed. Outcomes that say nothing
// about certificates are ignored, see [ConditionOf]. Give it only what really came of a connection, or the lack of an
// identity. It is made for the hot path: a look-up under a lock, and no more when nothing has changed.
func (d *Desk) Outcome(key endpoint.Key, outcome string, e Evidence) {
	c, ok := ConditionOf(outcome)
	if !ok {
		return
	}
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	w, known := d.watches[key]
	if !known {
		w = &watch{key: key}
		d.watches[key] = w
		d.plan(w, now) // what has been told before must be looked up
	}
	w.seen = now
	if !w.tracker.see(now, c, e, d.lasting) {
		return
	}
	if is, _ := w.tracker.decide(now, d.lasting); is != w.tracker.told {
		d.plan(w, now)
	} else if at := w.tracker.next(now, d.lasting); !at.IsZero() {
		d.plan(w, at)
	}
}

// Recall takes up an endpoint where any desk has left it: the certificate that its receiver presented last, and whether
// it is held. A service calls it for each of its endpoints when it starts, so that an alert comes at its time although
// nothing was delivered since.
func (d *Desk) Recall(key endpoint.Key) {
	now := time.Now()
	at := slot{kind: Server, subject: key.String()}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.sights[at]; !ok {
		s := &sight{slot: at}
		d.sights[at] = s
		d.plan(s, now)
	}
	if _, ok := d.watches[key]; !ok {
		w := &watch{key: key, seen: now}
		d.watches[key] = w
		d.plan(w, now)
	}
}

// Forget drops everything about an endpoint that was deleted or disabled. What was told stays told.
func (d *Desk) Forget(key endpoint.Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w, ok := d.watches[key]; ok {
		d.agenda.remove(w)
		delete(d.watches, key)
	}
	d.drop(slot{kind: Server, subject: key.String()})
	for _, at := range slices.Clone(d.roots[key.String()]) {
		d.drop(at)
	}
}

// Retire stops watching the certificate of an identity or authority that is not used any more.
func (d *Desk) Retire(kind Kind, name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop(slot{kind: kind, subject: name})
}

func (d *Desk) drop(at slot) {
	s, ok := d.sights[at]
	if !ok {
		return
	}
	d.agenda.remove(s)
	delete(d.sights, at)
	if at.kind != Root {
		return
	}
	if rest := slices.DeleteFunc(d.roots[at.subject], func(s slot) bool { return s == at }); len(rest) > 0 {
		d.roots[at.subject] = rest
	} else {
		delete(d.roots, at.subject)
	}
}

// Rotated takes note of how far a rotation has come. Call it as often as convenient, from every process that knows: each
// piece of news is told once. The error is that of [Rotation.Check].
func (d *Desk) Rotated(r Rotation) error {
	if err := r.Check(); err != nil {
		return err
	}
	now := time.Now()
	news, err := r.alert(now)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	_, queued := d.turns[news.ID]
	if _, done := d.finished[news.ID]; queued || done {
		return nil
	}
	t := &turn{alert: news}
	d.turns[news.ID] = t
	d.plan(t, now)
	return nil
}

// plan puts an item on the agenda and wakes Run when it has to look sooner. The lock is held.
func (d *Desk) plan(i item, at time.Time) {
	if d.agenda.put(i, at) {
		select {
		case d.wake <- struct{}{}:
		default: // Run is awake already
		}
	}
}

// publish sends an alert.
func (d *Desk) publish(ctx context.Context, a Alert) error {
	e, err := a.CloudEvent(d.config.Deployment)
	if err != nil {
		return err
	}
	if err := d.config.Publisher.Publish(ctx, e); err != nil {
		return fmt.Errorf("publish %s about %s: %w", a.Type, a.Subject, err)
	}
	return nil
}

// told counts and logs alerts that this desk was the one to remember, so that each counts once in a deployment.
func (d *Desk) told(ctx context.Context, alerts []Alert) {
	for _, a := range alerts {
		d.meters.alerts.Add(ctx, 1, metric.WithAttributes(typeKey.String(string(a.Type))))
		d.config.Logger.LogAttrs(ctx, a.Type.level(), "alert", slog.String("type", string(a.Type)),
			slog.String("subject", a.Subject), slog.String("event", a.ID))
	}
}
