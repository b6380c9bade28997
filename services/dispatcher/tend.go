package dispatcher

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/handfast/handfast/pkg/alert"
	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/event"
	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/rotation"
	"github.com/handfast/handfast/pkg/stream"
)

// stalledEvery is how often a rotation that does not change is looked at, because that is news after a day.
const stalledEvery = 10 * time.Minute

// prepare makes what looks after identities, rotations and alerts.
func (d *Dispatcher) prepare(ctx context.Context, deps Dependencies) error {
	bucket, err := stream.OpenBucket(ctx, d.js, stream.IdentityBucket, d.logger)
	if err != nil {
		return err //nolint:wrapcheck // says what and where already
	}
	bucket.Poll = d.config.FetchWait
	d.roster.endpoints, d.roster.partitions = &d.endpoints, d.topology.Partitions
	d.presenting = presenting{
		files: deps.Identities, book: identity.NewBook(deps.Vault, identity.BookOptions{Logger: d.logger, Changed: func(string) { d.wakeHealing() }}),
		board: rotation.NewBoard(&d.roster), bucket: bucket, logger: d.logger,
	}
	d.catalogue.Changed = func(key endpoint.Key, _ uint64) {
		d.presenting.board.EndpointsChanged()
		if to, ok := d.endpoints.Get(key); !ok || to.Disabled() {
			d.alerts.Forget(key)
		}
		d.wakeHealing()
	}
	d.renewer = identity.NewRenewer(d.presenting.book, records{bucket}, deps.Vault, identity.RenewerOptions{Logger: d.logger, Interval: d.config.TendInterval})
	d.rotations, err = rotation.NewRunner(rotation.Setup{
		Board: d.presenting.board, Prober: prober{d}, Store: records{bucket}, Owner: turn{members: d.members, partitions: d.topology.Partitions},
		Logger: d.logger, Rate: d.config.ProbeRate,
	})
	if err != nil {
		return err //nolint:wrapcheck // says what already
	}
	told, err := stream.OpenBucket(ctx, d.js, stream.AlertBucket, d.logger)
	if err != nil {
		return err //nolint:wrapcheck // says what and where already
	}
	d.alerts, err = alert.New(alert.Config{
		Deployment: d.config.Deployment, Memory: memory{told}, Publisher: alert.Through(event.NewPublisher(d.js, deps.TracerProvider)), Logger: d.logger, MeterProvider: deps.MeterProvider,
	})
	return err //nolint:wrapcheck // says what already
}

// tend starts what prepare has made.
func (d *Dispatcher) tend(ctx context.Context, loops *sync.WaitGroup) {
	loops.Go(func() { _ = d.renewer.Run(ctx) }) // nil by contract
	loops.Go(func() { d.rotations.Run(ctx) })
	loops.Go(func() { d.tellRotations(ctx) })
	loops.Go(func() { _ = d.alerts.Run(ctx) }) // ends with ctx
	loops.Go(func() {
		for _, to := range d.endpoints.All() {
			d.alerts.Recall(to.Key())
		}
		tick := time.NewTicker(d.config.TendInterval)
		defer tick.Stop()
		for {
			d.lookAround(ctx)
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
}

// lookAround shows the desk every certificate that is in use.
func (d *Dispatcher) lookAround(ctx context.Context) {
	note := func(err error) {
		if err != nil {
			d.logger.WarnContext(ctx, "a certificate cannot be watched for alerts", slog.Any("error", err))
		}
	}
	for name, source := range d.presenting.files {
		if held, err := source.Identity(); err == nil {
			leaf := held.Leaf()
			note(d.alerts.See(alert.Certificate{
				Kind: alert.Identity, Subject: name, Fingerprint: held.Fingerprint(), NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
			}))
		}
	}
	for _, record := range d.presenting.book.Records() {
		leaf := record.Leaf()
		switch {
		case record.State == identity.Retired:
			d.alerts.Retire(alert.Identity, record.Name)
		case leaf != nil:
			note(d.alerts.See(alert.Certificate{
				Kind: alert.Identity, Subject: record.Name, Fingerprint: record.Fingerprint(), NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
				Renews: record.Origin == identity.FromAuthority,
			}))
		}
	}
	for _, a := range d.presenting.book.Authorities() {
		root := a.Certificate()
		if a.State == identity.AuthorityRetired || root == nil {
			d.alerts.Retire(alert.Authority, a.Name)
			continue
		}
		note(d.alerts.See(alert.Certificate{Kind: alert.Authority, Subject: a.Name, Fingerprint: a.Fingerprint(), NotBefore: root.NotBefore, NotAfter: root.NotAfter}))
	}
	for _, to := range d.endpoints.All() {
		roots := make([]alert.Certificate, 0, len(to.TLS.Trust.Roots))
		for _, root := range to.TLS.Trust.Roots {
			roots = append(roots, alert.Certificate{Fingerprint: fingerprint(root), NotBefore: root.NotBefore, NotAfter: root.NotAfter})
		}
		note(d.alerts.SeeRoots(to.Key(), roots...))
	}
}

// tellRotations tells how the rotations are, soon after each change of one.
func (d *Dispatcher) tellRotations(ctx context.Context) {
	for {
		changed := d.presenting.board.Changed()
		for _, name := range d.presenting.board.Identities() {
			if err := d.tellRotation(name); err != nil {
				d.logger.WarnContext(ctx, "a rotation cannot be told", slog.String("identity", name), slog.Any("error", err))
			}
		}
		again := time.NewTimer(stalledEvery)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-again.C:
		}
		again.Stop()
		select { // changes come in crowds
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// tellRotation tells how far a rotation is, or how the last one has ended.
func (d *Dispatcher) tellRotation(name string) error {
	progress, err := d.presenting.board.Progress(name)
	if err != nil {
		return err //nolint:wrapcheck // says what already
	}
	if r := progress.Rotation; r != nil {
		news := alert.Rotation{
			Identity: name, ID: r.ID, From: progress.Uses, To: r.To, Stage: alert.Started, Since: r.StartedAt,
			Accepted: len(progress.Accepted), Refused: len(progress.Refused), Unreachable: len(progress.Unreachable), Waiting: len(progress.Waiting),
		}
		if err := d.alerts.Rotated(news); err != nil {
			return err //nolint:wrapcheck // says what already
		}
		if !progress.Stalled(time.Now()) {
			return nil
		}
		news.Stage, news.Since = alert.Stalled, r.StartedAt
		if progress.AcceptedAt.After(news.Since) {
			news.Since = progress.AcceptedAt
		}
		news.Detail, news.Advice = "no endpoint more has accepted "+r.To+" for a day", "See `handfast rotate status "+name+"`: it lists each endpoint with the reason"
		return d.alerts.Rotated(news) //nolint:wrapcheck // says what already
	}
	return d.tellEnd(name)
}

// tellEnd tells how the last rotation of an identity has ended.
func (d *Dispatcher) tellEnd(name string) error {
	assignment, _, err := d.presenting.board.Assignment(name)
	if err != nil || len(assignment.History) == 0 {
		return err //nolint:wrapcheck // says what already
	}
	last := assignment.History[len(assignment.History)-1]
	news := alert.Rotation{
		Identity: name, ID: last.To + "." + strconv.FormatInt(last.EndedAt.Unix(), 10), From: last.From, To: last.To,
		Stage: alert.Completed, Since: last.EndedAt, Detail: "every endpoint of " + name + " is presented " + last.To,
	}
	if last.How == rotation.RolledBack {
		news.Stage, news.Detail = alert.RolledBack, "every endpoint of "+name+" is presented "+last.From+" as before"
	}
	return d.alerts.Rotated(news) //nolint:wrapcheck // says what already
}

// tell shows the desk what an attempt has come to.
func (d *Dispatcher) tell(ctx context.Context, r *result) {
	evidence := alert.Evidence{Detail: r.verdict.Detail, Advice: r.verdict.Advice}
	if span := trace.SpanContextFromContext(ctx); span.IsSampled() {
		evidence.Trace = span.TraceID().String()
	}
	d.tellOutcome(r.to, r.verdict, r.proof, evidence, r.reused)
}

func (d *Dispatcher) tellOutcome(to endpoint.Registered, v delivery.Verdict, proof *mtls.Proof, evidence alert.Evidence, reused bool) {
	if proof != nil && proof.Server != nil && v.Outcome != delivery.Delivered {
		evidence.Server = &alert.Party{
			Subject: proof.Server.Subject, Issuer: proof.Server.Issuer, Names: proof.Server.Names, NotAfter: proof.Server.NotAfter, Fingerprints: proof.Server.Fingerprints,
		}
	}
	if proof != nil && proof.Server != nil && !reused && len(proof.Server.Fingerprints) > 0 {
		err := d.alerts.See(alert.Certificate{
			Kind: alert.Server, Subject: to.Key().String(), Fingerprint: proof.Server.Fingerprints[0], NotBefore: proof.Server.NotBefore, NotAfter: proof.Server.NotAfter,
		})
		if err != nil {
			d.logger.Debug("a receiver's certificate cannot be watched", slog.Any("error", err))
		}
	}
	d.alerts.Outcome(to.Key(), v.Outcome.String(), evidence)
}

func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// memory is the bucket of alerts that were told.
type memory struct{ bucket *stream.Bucket }

// Get reads an entry.
func (m memory) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	entry, err := m.bucket.Get(ctx, key)
	if errors.Is(err, stream.ErrNoEntry) {
		return nil, 0, fmt.Errorf("%w (%w)", alert.ErrNotFound, err)
	}
	return entry.Value, entry.Revision, err //nolint:wrapcheck // says what and where already
}

// Create writes an entry that must not exist.
func (m memory) Create(ctx context.Context, key string, value []byte) error {
	_, err := m.bucket.Create(ctx, key, value)
	return exists(err)
}

// Update replaces an entry that must stand at a revision.
func (m memory) Update(ctx context.Context, key string, value []byte, last uint64) error {
	_, err := m.bucket.Update(ctx, key, value, last)
	return exists(err)
}

func exists(err error) error {
	if errors.Is(err, stream.ErrConflict) {
		return fmt.Errorf("%w (%w)", alert.ErrExists, err)
	}
	return err
}
