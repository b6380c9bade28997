package alert

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/handfast/handfast/pkg/endpoint"
)

// stuck is a broker that never answers.
type stuck struct{ asked chan struct{} }

func (s stuck) wait(ctx context.Context) error {
	select {
	case s.asked <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s stuck) Get(ctx context.Context, _ string) ([]byte, uint64, error) { return nil, 0, s.wait(ctx) }

func (s stuck) Create(ctx context.Context, _ string, _ []byte) error { return s.wait(ctx) }

func (s stuck) Update(ctx context.Context, _ string, _ []byte, _ uint64) error { return s.wait(ctx) }

func (s stuck) Publish(ctx context.Context, _ cloudevents.Event) error { return s.wait(ctx) }

func newDesk(tb testing.TB) (*Desk, stuck) {
	tb.Helper()
	s := stuck{asked: make(chan struct{}, 1)}
	d, err := New(Config{Deployment: "test", Memory: s, Publisher: s, Logger: slog.New(slog.DiscardHandler), MeterProvider: noop.NewMeterProvider()})
	require.NoError(tb, err)
	return d, s
}

// Nothing that the hot path calls waits for a broker that hangs, and the usual attempt allocates nothing.
func TestTheHotPathDoesNotWait(t *testing.T) {
	d, s := newDesk(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- d.Run(ctx) }()
	key := endpoint.Key{Tenant: "acme", Name: "orders"}
	from := time.Now()
	c := Certificate{Kind: Server, Subject: key.String(), Fingerprint: fmt.Sprintf("%064x", 1), NotBefore: from, NotAfter: from.Add(time.Hour)}
	require.NoError(t, d.See(c))
	<-s.asked // Run hangs in the broker now
	for i := range 1000 {
		key := endpoint.Key{Tenant: "acme", Name: fmt.Sprint("e", i)}
		d.Outcome(key, "client_certificate_refused", Evidence{})
		d.Recall(key)
		require.NoError(t, d.See(c))
	}
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		d.Outcome(key, "delivered", Evidence{})
		_ = d.See(c)
	}))
	assert.Zero(t, testing.AllocsPerRun(100, func() { d.Outcome(key, "client_certificate_refused", Evidence{Detail: "no"}) }))
	cancel()
	require.NoError(t, <-done)
	assert.Len(t, d.watches, 1001, "an entry for an endpoint, not for an attempt")
	for i := range 1000 {
		d.Forget(endpoint.Key{Tenant: "acme", Name: fmt.Sprint("e", i)})
	}
	assert.Len(t, d.watches, 1)
	assert.Len(t, d.sights, 1)
}

func TestAgenda(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	start := time.Now()
	var a agenda
	items := make([]*turn, 200)
	wanted := make([]time.Time, len(items))
	for i := range items {
		items[i] = &turn{}
	}
	for range 2000 {
		i, at := random.IntN(len(items)), start.Add(time.Duration(random.IntN(100_000))*time.Second)
		if random.IntN(5) == 0 {
			a.remove(items[i])
			wanted[i] = time.Time{}
			continue
		}
		a.put(items[i], at)
		if wanted[i].IsZero() || at.Before(wanted[i]) {
			wanted[i] = at
		}
	}
	_, ok := a.take(start.Add(-1))
	assert.False(t, ok)
	var before time.Time
	for {
		next, ok := a.take(start.Add(100_000 * time.Second))
		if !ok {
			break
		}
		at := next.plan().at
		assert.False(t, at.Before(before))
		before = at
		i := slices.IndexFunc(items, func(t *turn) bool { return item(t) == next })
		assert.Equal(t, wanted[i], at, "the earliest time that was asked for")
		wanted[i] = time.Time{}
	}
	for _, at := range wanted {
		assert.True(t, at.IsZero(), "nothing is left behind")
	}
}

// Whatever is seen in whatever order: the tracker says at the latest at the time that it named what it will say, and a
// condition is told only after it was seen.
func TestTrackerNamesItsTimes(t *testing.T) {
	p := persistence{settle: time.Minute, quiet: 5 * time.Minute}
	random := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		tr := tracker{told: Healthy}
		seen := map[Condition]bool{Healthy: true}
		for range 30 {
			c := Condition(1 + random.IntN(4))
			seen[c] = true
			tr.see(now, c, Evidence{}, p)
			pause := time.Duration(random.IntN(400)) * time.Second
			for end := now.Add(pause); now.Before(end); {
				is, since := tr.decide(now, p)
				require.True(t, seen[is])
				if is != tr.told {
					tr.tell(is, since, now, p)
					again, _ := tr.decide(now, p)
					require.Equal(t, is, again, "a decision stands")
				}
				next := tr.next(now, p)
				if next.IsZero() || next.After(end) {
					next = end
				}
				require.True(t, next.After(now))
				if just := next.Add(-1); just.After(now) {
					before, _ := tr.decide(just, p)
					require.Equal(t, tr.told, before, "nothing changes before the time that was named")
				}
				now = next
			}
		}
	}
}

func TestSuccessesAloneAreNoNews(t *testing.T) {
	p := persistence{settle: time.Minute, quiet: 5 * time.Minute}
	tr := tracker{told: Healthy}
	now := time.Now()
	for i := range 100 {
		assert.False(t, tr.see(now.Add(time.Duration(i)*time.Hour), Healthy, Evidence{}, p))
	}
}

// A slot remembers a bounded number of certificates, and the newest ones.
func TestLedgerIsBounded(t *testing.T) {
	var l ledger
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 100 {
		at := now.AddDate(0, 0, i)
		c := Certificate{Fingerprint: strconv.Itoa(i), NotBefore: at, NotAfter: at.AddDate(1, 0, 0)}
		l.add(sighting{Certificate: c, first: at, last: at})
	}
	require.Len(t, l.Certificates, maxInSlot)
	for i, e := range l.Certificates {
		assert.Equal(t, strconv.Itoa(99-i), e.Fingerprint)
	}
}

func TestKeysCannotMeet(t *testing.T) {
	assert.Equal(t, "certificate.server.acme.orders", certificateKey(slot{kind: Server, subject: "acme/orders"}))
	assert.Equal(t, "certificate.root.acme.orders.ab", certificateKey(slot{kind: Root, subject: "acme/orders", root: "ab"}))
	assert.Equal(t, "certificate.identity.default", certificateKey(slot{kind: Identity, subject: "default"}))
	strange := certificateKey(slot{kind: Identity, subject: "a.b c>"})
	assert.Regexp(t, `^certificate\.identity\.=[0-9a-f]{32}$`, strange)
	assert.NotEqual(t, strange, certificateKey(slot{kind: Identity, subject: "a.b c*"}))
	assert.Equal(t, "endpoint.acme.orders", endpointKey("acme/orders"))
}

func TestPause(t *testing.T) {
	var got []time.Duration
	for i := range 9 {
		got = append(got, pause(i+1))
	}
	const s = time.Second
	assert.Equal(t, []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 60 * s, 60 * s, 60 * s}, got)
	assert.Equal(t, time.Minute, pause(1<<40))
}

func TestClosedListsReadWhatTheyWrite(t *testing.T) {
	for _, c := range Conditions() {
		text, err := c.MarshalText()
		require.NoError(t, err)
		var back Condition
		require.NoError(t, back.UnmarshalText(text))
		assert.Equal(t, c, back)
	}
	for _, k := range Kinds() {
		text, err := k.MarshalText()
		require.NoError(t, err)
		var back Kind
		require.NoError(t, back.UnmarshalText(text))
		assert.Equal(t, k, back)
		assert.Contains(t, Types(), k.expiring())
		assert.Contains(t, Types(), k.expired())
	}
	var c Condition
	var k Kind
	require.Error(t, c.UnmarshalText([]byte("unknown")))
	require.Error(t, k.UnmarshalText([]byte("unknown")))
	_, err := c.MarshalText()
	require.Error(t, err)
	_, err = k.MarshalText()
	require.Error(t, err)
	for _, typ := range Types() {
		assert.NotEqual(t, "alert-unknown", typ.schema())
	}
}

func FuzzMemoryEntry(f *testing.F) {
	f.Add([]byte(`{"version":1,"change":3,"condition":"client_certificate_refused","since":"2026-01-01T00:00:00Z","open":["client_certificate_refused"],"pending":[{"id":"a","type":"t","subject":"s","time":"2026-01-01T00:00:00Z","data":{}}]}`))
	f.Add([]byte(`{"version":1,"certificates":[{"fingerprint":"ab","not_before":"2026-01-01T00:00:00Z","not_after":"2027-01-01T00:00:00Z","first":"2026-01-01T00:00:00Z","told":5}]}`))
	f.Add([]byte(`{"version":1,"condition":"unknown"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		if s, err := parseStanding(data); err == nil {
			for _, c := range Conditions() {
				next, err := s.change("acme/orders", c, now, now, Evidence{})
				require.NoError(t, err)
				require.Equal(t, c, next.Condition)
				if c.held() {
					require.Len(t, next.Pending, 1)
				}
			}
		}
		if l, err := parseLedger(data); err == nil {
			at := slot{kind: Server, subject: "acme/orders"}
			for _, s := range current(l.merge(at, nil)) {
				require.NoError(t, s.Check())
			}
			l.add(sighting{})
			require.NotNil(t, l.find(""))
		}
	})
}

func FuzzClip(f *testing.F) {
	f.Add("a\xff\x00", 10)
	f.Add("äöü€€€€", 7)
	f.Fuzz(func(t *testing.T, text string, most int) {
		if most < 3 || most > maxWords {
			return
		}
		short := clip(text, most)
		require.LessOrEqual(t, len(short), most)
		require.True(t, short == "" || printable(clip(short, maxName)))
	})
}

func BenchmarkOutcome(b *testing.B) {
	d, _ := newDesk(b)
	key := endpoint.Key{Tenant: "acme", Name: "orders"}
	b.ReportAllocs()
	for b.Loop() {
		d.Outcome(key, "delivered", Evidence{})
	}
}
