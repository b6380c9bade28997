package alert_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/handfast/handfast/pkg/alert"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/event"
	"github.com/handfast/handfast/schemas"
)

const day = 24 * time.Hour

// told is one alert as a subscriber got it.
type told struct {
	id, kind, subject string
	at                time.Time
	data              map[string]any
	text              []byte
}

// world is what all desks of a deployment share: the memory, and the stream with its subscribers. A repeated id is
// counted and otherwise dropped, as the broker and receivers do.
type world struct {
	t       *testing.T
	mu      sync.Mutex
	entries map[string]stored
	events  []told
	repeats int
	known   map[string]told
	schemas map[string]*jsonschema.Schema
}

type stored struct {
	value    []byte
	revision uint64
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, entries: map[string]stored{}, known: map[string]told{}, schemas: map[string]*jsonschema.Schema{}}
	for _, name := range []string{"alert-certificate", "alert-endpoint", "alert-rotation"} {
		schema, err := schemas.Compile(name)
		require.NoError(t, err)
		text, err := schemas.Get(name)
		require.NoError(t, err)
		var head struct {
			ID string `json:"$id"`
		}
		require.NoError(t, json.Unmarshal(text, &head))
		w.schemas[head.ID] = schema
	}
	return w
}

// take returns the alerts since the last call, as "type subject".
func (w *world) take() []told {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.events
	w.events = nil
	return out
}

func kinds(all []told) []string {
	out := []string{}
	for _, a := range all {
		out = append(out, a.kind+" "+a.subject)
	}
	return out
}

// store takes an event as the real stream would: through the codec, and checked against its schema.
func (w *world) store(e cloudevents.Event) error {
	msg, err := event.NewMessage(alert.Tenant, e)
	if err != nil {
		return err
	}
	parsed, err := event.Parse(msg.Subject, msg.Header, msg.Data)
	require.NoError(w.t, err)
	assert.Equal(w.t, "events.handfast."+e.Type(), msg.Subject)
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(e.Data()))
	require.NoError(w.t, err)
	schema, ok := w.schemas[e.DataSchema()]
	if assert.True(w.t, ok, "%s names the schema %q", e.Type(), e.DataSchema()) {
		assert.NoError(w.t, schema.Validate(document), "%s", e.Data())
	}
	data, _ := document.(map[string]any)
	w.mu.Lock()
	defer w.mu.Unlock()
	one := told{id: parsed.Source() + " " + parsed.ID(), kind: parsed.Type(), subject: parsed.Subject(), at: parsed.Time(), data: data, text: e.Data()}
	if before, ok := w.known[one.id]; ok {
		w.repeats++
		assert.Equal(w.t, before.kind, one.kind, "one id, one piece of news")
		assert.Equal(w.t, before.subject, one.subject)
		return nil
	}
	w.known[one.id] = one
	w.events = append(w.events, one)
	return nil
}

// session is how one desk reaches the world. It can be cut off at any point, as by a crash.
type session struct {
	*world

	mu        sync.Mutex
	dead      bool
	dieAfter  string // "publish" or "write": the operation that is the last to succeed
	refuse    bool   // answers with an error, as a broker that is away
	reads     int
	published int
	refused   int
	rival     func(key string) // comes first at a write, once
	tap       alert.Publisher  // gets a copy
}

var errAway = errors.New("the broker is away")

func (s *session) enter(operation string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead || s.refuse {
		s.refused++
		return errAway
	}
	switch operation {
	case "read":
		s.reads++
	case "publish":
		s.published++
	}
	if s.dieAfter == operation {
		s.dead = true
	}
	return nil
}

func (s *session) set(change func(*session)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// Publish implements alert.Publisher.
func (s *session) Publish(ctx context.Context, e cloudevents.Event) error {
	if err := s.enter("publish"); err != nil {
		return err
	}
	if s.tap != nil {
		if err := s.tap.Publish(ctx, e); err != nil {
			return err
		}
	}
	return s.store(e)
}

// Get implements alert.Memory.
func (s *session) Get(_ context.Context, key string) ([]byte, uint64, error) {
	if err := s.enter("read"); err != nil {
		return nil, 0, err
	}
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	e, ok := s.entries[key]
	if !ok {
		return nil, 0, alert.ErrNotFound
	}
	return bytes.Clone(e.value), e.revision, nil
}

// Create implements alert.Memory.
func (s *session) Create(ctx context.Context, key string, value []byte) error {
	return s.Update(ctx, key, value, 0)
}

// Update implements alert.Memory.
func (s *session) Update(_ context.Context, key string, value []byte, last uint64) error {
	if err := s.enter("write"); err != nil {
		return err
	}
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	if rival := s.rival; rival != nil {
		s.rival = nil
		rival(key)
	}
	if s.entries[key].revision != last {
		return alert.ErrExists
	}
	assert.Regexp(s.t, `^[-/_=.a-zA-Z0-9]+$`, key, "a key of NATS KV")
	s.entries[key] = stored{value: bytes.Clone(value), revision: last + 1}
	return nil
}

// desk is a running desk.
type desk struct {
	*alert.Desk
	*session

	stop func()
}

func (w *world) desk(meters metric.MeterProvider) *desk {
	w.t.Helper()
	s := &session{world: w}
	if meters == nil {
		meters = noop.NewMeterProvider()
	}
	d, err := alert.New(alert.Config{
		Deployment: "test", Memory: s, Publisher: s, Logger: slog.New(slog.DiscardHandler), MeterProvider: meters,
	})
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		assert.NoError(w.t, d.Run(ctx))
	}()
	return &desk{Desk: d, session: s, stop: func() { cancel(); <-done }}
}

// pass lets virtual time go by.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func until(at time.Time) { pass(time.Until(at)) }

func fingerprint(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

func certificate(kind alert.Kind, subject, name string, from time.Time, life time.Duration) alert.Certificate {
	return alert.Certificate{Kind: kind, Subject: subject, Fingerprint: fingerprint(name), NotBefore: from, NotAfter: from.Add(life)}
}

var orders = endpoint.Key{Tenant: "acme", Name: "orders"}

const refused = "client_certificate_refused"
