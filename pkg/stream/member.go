package stream

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// servedRanks is how many dispatchers pull a partition; the rest stay idle, so that idle pulls do not grow with their
// number.
const servedRanks = 3

// Membership is one dispatcher's lease and its view of the others. A partition's order of dispatchers is their
// rendezvous order (highest random weight), so one that comes or goes moves only its own share.
type Membership struct {
	id     string
	ttl    time.Duration
	js     jetstream.JetStream
	kv     jetstream.KeyValue
	logger *slog.Logger

	mu      sync.Mutex
	members []string
	changed chan struct{}
}

// Join prepares the membership of dispatcher id, a NATS subject token. The lease ends ttl after its last renewal, which
// comes every third of it. NATS counts it in whole seconds, and in no less than one. Run keeps it.
func Join(ctx context.Context, js jetstream.JetStream, id string, ttl time.Duration, logger *slog.Logger) (*Membership, error) {
	kv, err := js.KeyValue(ctx, DispatcherBucket)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", DispatcherBucket, err)
	}
	return &Membership{id: id, ttl: ttl, js: js, kv: kv, logger: logger, members: []string{id}, changed: make(chan struct{})}, nil
}

// Run renews the lease and follows the others until ctx ends, then gives the lease back.
func (m *Membership) Run(ctx context.Context) {
	var group sync.WaitGroup
	group.Go(func() { m.follow(ctx) })
	tick := time.NewTicker(m.ttl / 3)
	defer tick.Stop()
	for {
		if err := m.renew(ctx); err != nil && ctx.Err() == nil {
			m.logger.WarnContext(ctx, "cannot renew this dispatcher's lease; others take over its partitions if this lasts", slog.Any("error", err))
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		break
	}
	group.Wait()
	m.leave(context.WithoutCancel(ctx))
}

func (m *Membership) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	// With a time to live, because ids are new for each process and their markers would pile up for ever.
	msg := &nats.Msg{Subject: "$KV." + DispatcherBucket + "." + m.id, Header: nats.Header{"KV-Operation": {"DEL"}}}
	if _, err := m.js.PublishMsg(ctx, msg, jetstream.WithMsgTTL(max(m.ttl, time.Second))); err != nil {
		m.logger.WarnContext(ctx, "could not give the lease back; it ends by itself", slog.Any("error", err))
	}
}

// renew writes the lease with its time to live. The key-value API sets one at creation only, so this is a plain
// publish to the bucket's subject.
func (m *Membership) renew(ctx context.Context) error {
	value, err := json.Marshal(map[string]string{"id": m.id})
	if err != nil {
		return fmt.Errorf("write lease: %w", err)
	}
	msg := &nats.Msg{Subject: "$KV." + DispatcherBucket + "." + m.id, Data: value, Header: nats.Header{}}
	if _, err := m.js.PublishMsg(ctx, msg, jetstream.WithMsgTTL(m.ttl)); err != nil {
		return fmt.Errorf("renew lease: %w", err)
	}
	return nil
}

// follow counts the live dispatchers. One whose lease has ended is noticed within the twentieth part of a lease: the broker
// tells nobody of that.
func (m *Membership) follow(ctx context.Context) {
	bucket := Bucket{kv: m.kv, js: m.js, logger: m.logger, Poll: m.ttl / 20}
	live := map[string]bool{m.id: true}
	reading := true
	bucket.Watch(ctx, Watch{
		Begin: func(time.Time) { reading = true },
		Take: func(e Entry) {
			switch {
			case !e.Removed:
				live[e.Key] = true
			case e.Key != m.id: // it never counts itself out: whoever can pull, may
				delete(live, e.Key)
			}
			if !reading {
				m.set(live)
			}
		},
		Ready: func(uint64) {
			reading = false
			m.set(live)
		},
	})
}

func (m *Membership) set(live map[string]bool) {
	members := make([]string, 0, len(live))
	for id := range live {
		members = append(members, id)
	}
	slices.Sort(members)
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.Equal(members, m.members) {
		return
	}
	m.members = members
	close(m.changed)
	m.changed = make(chan struct{})
}

// Changed is closed at the next change of the members.
func (m *Membership) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// Members returns the ids of the live dispatchers, sorted.
func (m *Membership) Members() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.members)
}

// Rank is this dispatcher's place for a partition: 0 is served first, and -1 means not to pull it.
func (m *Membership) Rank(partition int) int { return rank(m.id, m.Members(), partition) }

func rank(id string, members []string, partition int) int {
	order := slices.Clone(members)
	slices.SortFunc(order, func(a, b string) int {
		return cmp.Or(cmp.Compare(weight(b, partition), weight(a, partition)), cmp.Compare(a, b))
	})
	if at := slices.Index(order, id); at < servedRanks {
		return at
	}
	return -1
}

func weight(id string, partition int) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(strconv.Itoa(partition) + "/" + id))
	x := h.Sum64()
	x ^= x >> 33 // FNV alone orders similar ids alike in every partition
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
