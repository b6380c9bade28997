package alert

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const scope = "github.com/handfast/handfast/pkg/alert"

const (
	typeKey    = attribute.Key("type")
	kindKey    = attribute.Key("kind")
	nameKey    = attribute.Key("name")
	outcomeKey = attribute.Key("outcome")
)

type meters struct {
	alerts   metric.Int64Counter
	failures metric.Int64Counter
	gauges   metric.Registration
}

func (d *Desk) instrument(meter metric.Meter) error {
	var errs [5]error
	var expiry, held metric.Int64ObservableGauge
	d.meters.alerts, errs[0] = meter.Int64Counter("handfast.alerts", metric.WithDescription("Alerts told, by type; each counts once in a deployment"))
	d.meters.failures, errs[1] = meter.Int64Counter("handfast.alert.failures", metric.WithDescription("Tries to tell an alert, or to look up whether it was told, that failed"))
	expiry, errs[2] = meter.Int64ObservableGauge("handfast.certificate.expiry", metric.WithUnit("s"),
		metric.WithDescription("Time until a certificate expires, by kind and name; those that expire first"))
	held, errs[3] = meter.Int64ObservableGauge("handfast.endpoints.held", metric.WithDescription("Endpoints whose deliveries wait, by what holds them, as this process knows"))
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	for _, t := range Types() { // the first alert of a type is a step from 0 then, which Prometheus can see
		d.meters.alerts.Add(context.Background(), 0, metric.WithAttributes(typeKey.String(string(t))))
	}
	d.meters.failures.Add(context.Background(), 0)
	d.meters.gauges, errs[4] = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, s := range d.shown(time.Now()) {
			o.ObserveInt64(expiry, s.left, metric.WithAttributes(kindKey.String(s.kind.String()), nameKey.String(s.name)))
		}
		for condition, count := range d.held() {
			o.ObserveInt64(held, count, metric.WithAttributes(outcomeKey.String(condition.String())))
		}
		return nil
	}, expiry, held)
	return errs[4]
}

func (d *Desk) uninstrument(ctx context.Context) {
	if err := d.meters.gauges.Unregister(); err != nil {
		d.config.Logger.WarnContext(ctx, "could not stop measuring certificates", slog.Any("error", err))
	}
}

// series is one value of the metric of expiry.
type series struct {
	kind Kind
	name string
	left int64 // seconds
}

// shown returns the series that end first, one for each kind and name.
func (d *Desk) shown(now time.Time) []series {
	type name struct {
		kind Kind
		text string
	}
	soonest := make(map[name]time.Time)
	d.mu.Lock()
	for at, s := range d.sights {
		for _, c := range current(s.seen) {
			of := name{at.kind, at.subject}
			if known, ok := soonest[of]; !ok || c.NotAfter.Before(known) {
				soonest[of] = c.NotAfter
			}
		}
	}
	d.mu.Unlock()
	all := make([]series, 0, len(soonest))
	for of, end := range soonest {
		all = append(all, series{kind: of.kind, name: of.text, left: int64(end.Sub(now) / time.Second)})
	}
	slices.SortFunc(all, func(a, b series) int {
		return cmp.Or(cmp.Compare(a.left, b.left), cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name))
	})
	return all[:min(len(all), d.config.Series)]
}

// held counts the endpoints that are held; every condition is there, so that a series does not vanish at zero.
func (d *Desk) held() map[Condition]int64 {
	counts := make(map[Condition]int64, len(conditionNames))
	for _, c := range Conditions() {
		if c.held() {
			counts[c] = 0
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.watches {
		if told := w.tracker.told; told.held() {
			counts[told]++
		}
	}
	return counts
}
