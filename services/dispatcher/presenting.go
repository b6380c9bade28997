package dispatcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/rotation"
	"github.com/handfast/handfast/pkg/stream"
)

// presenting knows what this dispatcher can present, and to whom it presents which:
//
//	tls.identity of the document ──board (rotation)──▶ name ──files of this process, then the stored ones──▶ source
type presenting struct {
	files  map[string]mtls.Source
	book   *identity.Book
	board  *rotation.Board
	bucket *stream.Bucket
	logger *slog.Logger
}

// source finds an identity by the name that it has itself. What the process was given wins over what is stored: it is
// nearer to whoever runs it.
func (p *presenting) source(name string) (mtls.Source, bool) {
	if source, ok := p.files[name]; ok {
		return source, true
	}
	return p.book.Source(name)
}

// choose finds what an endpoint is presented now, by the name that its document uses. The verdict says why there is
// nothing.
func (p *presenting) choose(to endpoint.Registered) (name string, source mtls.Source, verdict *delivery.Verdict) {
	name = p.board.Presents(to.TLS.Identity, to.Key())
	if name == "" {
		v := ours(delivery.NoIdentity, "it is not known which certificate identity "+to.TLS.Identity+" stands for: bucket "+stream.IdentityBucket+" cannot be read, or holds a record of a newer release",
			"Run the same release of all dispatchers, and see that this one can read the bucket")
		return "", nil, &v
	}
	source, ok := p.source(name)
	if !ok {
		v := ours(delivery.NoIdentity, "this dispatcher has no identity named "+name,
			"Make it with `handfast identity create` or `import`, or give every dispatcher its files with --identity, or name another one in the endpoint's tls.identity")
		return "", nil, &v
	}
	return name, source, nil
}

// follow keeps book and board equal to the bucket until ctx ends.
func (p *presenting) follow(ctx context.Context, ready func()) {
	p.bucket.Follow(ctx, func(e stream.Entry) { p.take(ctx, e) }, ready)
}

func (p *presenting) take(ctx context.Context, e stream.Entry) {
	var err error
	switch {
	case e.Lost:
		p.board.Lose(e.Key)
		p.book.Lose(ctx, e.Key)
	case e.Removed && (rotation.IsAssignmentKey(e.Key) || rotation.IsStatusKey(e.Key)):
		p.board.Remove(e.Key, e.Revision)
	case e.Removed:
		p.book.Remove(ctx, e.Key)
	case rotation.IsAssignmentKey(e.Key):
		err = p.board.PutAssignment(e.Key, e.Value, e.Revision)
	case rotation.IsStatusKey(e.Key):
		err = p.board.PutStatus(e.Key, e.Value, e.Revision)
	default:
		p.book.Put(ctx, e.Key, e.Value, e.Revision)
	}
	if err != nil {
		p.logger.ErrorContext(ctx, "a record of a rotation is not valid; what was known before stays in force", slog.String("entry", e.Key), slog.Any("error", err))
	}
}

// records writes to the bucket of identities; its errors are those that both users look for.
type records struct{ bucket *stream.Bucket }

func (r records) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	revision, err := r.bucket.Create(ctx, key, value)
	return revision, conflict(err)
}

func (r records) Update(ctx context.Context, key string, value []byte, last uint64) (uint64, error) {
	revision, err := r.bucket.Update(ctx, key, value, last)
	return revision, conflict(err)
}

func conflict(err error) error {
	if errors.Is(err, stream.ErrConflict) {
		return fmt.Errorf("%w (%w, %w)", err, rotation.ErrConflict, identity.ErrConflict)
	}
	return err
}

// roster shows the registry to a rotation.
type roster struct {
	endpoints  *endpoint.Registry
	partitions int

	mu    sync.RWMutex
	marks map[endpoint.Key]mark
}

type mark struct {
	revision uint64
	text     string
}

// Live lists the endpoints that name an identity and can be called.
func (r *roster) Live(name string) []rotation.Target {
	var live []rotation.Target
	for _, to := range r.endpoints.All() {
		if to.TLS.Identity == name && !to.Disabled() {
			live = append(live, rotation.Target{Key: to.Key(), Revision: to.Revision, Mark: r.of(to)})
		}
	}
	return live
}

// Mark stands for the receiver that the endpoint's document leads to.
func (r *roster) Mark(key endpoint.Key) string {
	to, ok := r.endpoints.Get(key)
	if !ok {
		return ""
	}
	return r.of(to)
}

func (r *roster) of(to endpoint.Registered) string {
	key := to.Key()
	r.mu.RLock()
	held, ok := r.marks[key]
	r.mu.RUnlock()
	if ok && held.revision == to.Revision {
		return held.text
	}
	made := mark{revision: to.Revision, text: rotation.Mark(to.Endpoint)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.marks == nil || len(r.marks) >= maxTrusts {
		r.marks = make(map[endpoint.Key]mark)
	}
	r.marks[key] = made
	return made.text
}

// Partition is the endpoint's share.
func (r *roster) Partition(key endpoint.Key) int { return stream.Partition(key, r.partitions) }

// turn says what this dispatcher is responsible for.
type turn struct {
	members    *stream.Membership
	partitions int
}

// Owns tells whether this dispatcher is first in the order of the endpoint's partition.
func (t turn) Owns(key endpoint.Key) bool {
	return t.members.Rank(stream.Partition(key, t.partitions)) == 0
}

// Leads tells whether this dispatcher is first in the order of partition 0.
func (t turn) Leads() bool { return t.members.Rank(0) == 0 }

// Changed is closed when another dispatcher comes or goes.
func (t turn) Changed() <-chan struct{} { return t.members.Changed() }

// prober makes the exchanges of a rotation.
type prober struct{ *Dispatcher }

// Probe shows one identity to an endpoint.
func (p prober) Probe(ctx context.Context, key endpoint.Key, name string) rotation.Result {
	to, ok := p.endpoints.Get(key)
	if !ok {
		return rotation.Result{End: rotation.NoAnswer, Basis: rotation.Inferred, Detail: "the endpoint has been deleted"}
	}
	source, ok := p.presenting.source(name)
	if !ok {
		return rotation.Result{End: rotation.NotPresented, Basis: rotation.Inferred, Detail: "this dispatcher has no identity named " + name}
	}
	verdict, response := p.knock(ctx, to, func(to endpoint.Registered) (mtls.Target, *delivery.Verdict) { return p.aim(to, source) })
	result := rotation.Result{End: endOf(verdict.Outcome), Basis: basisOf(verdict.Origin), Detail: verdict.Detail, Advice: verdict.Advice}
	if response != nil {
		result.Status = response.Status
		if result.End == rotation.Answered && !response.Proof.Requested {
			result.End = rotation.AnsweredUnasked
		}
	}
	return result
}

// endOf is the bridge between outcomes and what a rotation decides on.
func endOf(o delivery.Outcome) rotation.End {
	switch o {
	case delivery.Delivered, delivery.Rejected, delivery.Gone, delivery.Throttled, delivery.Unavailable, delivery.Redirected,
		delivery.NotAcknowledged, delivery.NotActivated:
		return rotation.Answered
	case delivery.ClientCertificateNotRequested:
		return rotation.NotAsked
	case delivery.ClientCertificateRefused:
		return rotation.CertificateRefused
	case delivery.ServerCertificateUntrusted, delivery.ServerCertificateExpired, delivery.ServerNameMismatch, delivery.ServerCertificateRevoked:
		return rotation.ServerNotTrusted
	case delivery.NoIdentity:
		return rotation.NotPresented
	case delivery.HandshakeFailed, delivery.NameNotResolved, delivery.ConnectionRefused, delivery.TimedOut, delivery.ConnectionLost,
		delivery.AddressForbidden, delivery.StaleSignature, delivery.LaneFull:
		return rotation.NoAnswer
	}
	return rotation.NoAnswer
}

func basisOf(o delivery.Origin) rotation.Basis {
	if o == delivery.Said {
		return rotation.Said
	}
	return rotation.Inferred
}
