package signer

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/event"
	"github.com/handfast/handfast/pkg/schema"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/stream/embedded"
)

// school is a bucket of schemas with somebody who follows it.
type school struct {
	*Schemas

	t    *testing.T
	kv   jetstream.KeyValue
	stop func() // following
}

func withSchemas(t *testing.T, story func(*testing.T, school)) {
	t.Helper()
	ats.Register()
	defer ats.Unregister()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		server, err := embedded.Start(embedded.Options{Dir: dir})
		require.NoError(t, err)
		defer server.Stop()
		nc, err := nats.Connect("", server.Option())
		require.NoError(t, err)
		defer nc.Close()
		js, err := jetstream.New(nc)
		require.NoError(t, err)
		topology, err := stream.Topology{Partitions: 2}.Fill()
		require.NoError(t, err)
		require.NoError(t, topology.Apply(t.Context(), js))
		s := school{t: t}
		s.Schemas, err = OpenSchemas(t.Context(), js, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		s.kv, err = js.KeyValue(t.Context(), stream.SchemaBucket)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var following sync.WaitGroup
		read := make(chan struct{})
		following.Go(func() { s.Follow(ctx, func() { close(read) }) })
		s.stop = func() { cancel(); following.Wait() }
		defer s.stop()
		<-read
		story(t, s)
	})
}

func (s school) put(number int, text, base string) schema.Name {
	s.t.Helper()
	document, err := schema.Compile([]byte(text))
	require.NoError(s.t, err)
	name := schema.Name{Kind: schema.Kind{Tenant: "acme", Type: "a.b"}, Number: number}
	value, err := schema.Encode(name, document, base)
	require.NoError(s.t, err)
	_, err = s.kv.Put(s.t.Context(), name.Key(), value)
	require.NoError(s.t, err)
	return name
}

func stamped(t *testing.T, data string) *stored {
	t.Helper()
	e, err := event.Parse("events.acme.a.b", nats.Header{"ce-specversion": {"1.0"}, "ce-id": {"1"}, "ce-source": {"/s"}, "ce-type": {"a.b"}, "ce-datacontenttype": {"application/json"}}, []byte(data))
	require.NoError(t, err)
	return &stored{Event: e, at: time.Now()}
}

func TestASignerThatHearsNothingLetsEventsWait(t *testing.T) {
	withSchemas(t, func(t *testing.T, s school) { //nolint:thelper // the story itself
		judge := (&Signer{schemas: s.Schemas, logger: slog.New(slog.DiscardHandler)}).judge
		early := stamped(t, `{}`)
		require.NoError(t, judge(t.Context(), early))
		s.stop()
		s.put(1, `{"required":["a"]}`, "")
		require.NoError(t, judge(t.Context(), early), "what was stored before it cannot be meant")
		<-time.After(schema.Delay)
		late := stamped(t, `{}`)
		began := time.Now()
		err := judge(t.Context(), late)
		require.ErrorContains(t, err, "the schemas of events cannot be read, so that events wait")
		require.ErrorContains(t, err, "has entries that have not come in yet")
		assert.Nil(t, late.verdict.Version)
		assert.LessOrEqual(t, time.Since(began), lookTime)
	})
}

func TestASignerIsSureAndAsksSeldom(t *testing.T) {
	withSchemas(t, func(t *testing.T, s school) { //nolint:thelper // the story itself
		judge := (&Signer{schemas: s.Schemas, logger: slog.New(slog.DiscardHandler)}).judge
		s.put(1, `{"required":["a"]}`, "")
		for range 100 {
			<-time.After(10 * time.Millisecond)
			e := stamped(t, `{}`)
			err := judge(t.Context(), e)
			if v := s.registry.Set(schema.Kind{Tenant: "acme", Type: "a.b"}).Newest(e.at); v != nil {
				require.ErrorContains(t, err, `lacks "a"`)
			} else {
				require.NoError(t, err)
			}
			synctest.Wait()
		}
		require.ErrorContains(t, judge(t.Context(), stamped(t, `{}`)), `lacks "a"`)
		assert.Less(t, time.Now().Add(-schema.Delay).UnixNano(), s.confirmed.Load(), "it has looked in the background")
	})
}

func TestABucketThatIsMadeAnew(t *testing.T) {
	withSchemas(t, func(t *testing.T, s school) { //nolint:thelper // the story itself
		judge := (&Signer{schemas: s.Schemas, logger: slog.New(slog.DiscardHandler)}).judge
		s.put(1, `{"required":["a"]}`, "")
		<-time.After(time.Second)
		require.Error(t, judge(t.Context(), stamped(t, `{}`)))
		require.NoError(t, s.js.DeleteKeyValue(t.Context(), stream.SchemaBucket))
		require.Error(t, judge(t.Context(), stamped(t, `{}`)))
		topology, err := stream.LoadTopology(t.Context(), s.js)
		require.NoError(t, err)
		require.NoError(t, topology.Apply(t.Context(), s.js))
		<-time.After(time.Minute)
		require.ErrorContains(t, judge(t.Context(), stamped(t, `{}`)), `lacks "a"`, "nobody has said that it is not to be checked any more")
		s.put(1, `{"required":["b"]}`, "")
		<-time.After(time.Second)
		require.ErrorContains(t, judge(t.Context(), stamped(t, `{}`)), `lacks "b"`, "what is applied again counts")
	})
}

func TestSchemasAreServed(t *testing.T) {
	withSchemas(t, func(t *testing.T, s school) { //nolint:thelper // the story itself
		mux := http.NewServeMux()
		mux.HandleFunc("GET /schemas/{tenant}/{type}/{version}", s.ServeSchema)
		get := func(path string, header ...string) *httptest.ResponseRecorder {
			request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			for i := 0; i+1 < len(header); i += 2 {
				request.Header.Set(header[i], header[i+1])
			}
			recorder := httptest.NewRecorder()
			mux.ServeHTTP(recorder, request)
			return recorder
		}
		name := s.put(1, `{ "title": "x" }`, "https://schemas.example.com")
		odd := schema.Name{Kind: schema.Kind{Tenant: "acme", Type: "a//b/c%2F?#"}, Number: 1}
		value, err := schema.Encode(odd, mustCompile(t, `{"title":"odd"}`), "https://schemas.example.com")
		require.NoError(t, err)
		for _, each := range []schema.Name{odd} {
			_, err = s.kv.Put(t.Context(), each.Key(), value)
			require.NoError(t, err)
		}
		_, err = s.kv.Put(t.Context(), "acme.a.b.2", []byte("{}"))
		require.NoError(t, err)
		synctest.Wait()
		got := get("/schemas/acme/a.b/1")
		assert.Equal(t, http.StatusOK, got.Code)
		assert.Equal(t, []byte(`{"title":"x"}`), got.Body.Bytes()) //nolint:testifylint // byte for byte
		assert.Equal(t, "application/schema+json", got.Header().Get("Content-Type"))
		assert.Equal(t, "max-age=86400, immutable", got.Header().Get("Cache-Control"))
		assert.Equal(t, http.StatusNotModified, get("/schemas/acme/a.b/1", "If-None-Match", got.Header().Get("ETag")).Code)
		for _, uri := range []string{name.URI("https://schemas.example.com"), odd.URI("https://schemas.example.com")} {
			assert.Equal(t, http.StatusOK, get(uri).Code, "%s", uri)
		}
		_, err = s.kv.Put(t.Context(), name.RetiredKey(), []byte("{}"))
		require.NoError(t, err)
		synctest.Wait()
		assert.Equal(t, http.StatusOK, get("/schemas/acme/a.b/1").Code, "deliveries of before name it")
		for _, path := range []string{"/schemas/acme/a.b/2", "/schemas/acme/a.b/3", "/schemas/other/a.b/1", "/schemas/acme/a.b/01", "/schemas/acme/a.b/x"} {
			got := get(path)
			assert.Equal(t, http.StatusNotFound, got.Code, path)
			assert.Equal(t, "no-store", got.Header().Get("Cache-Control"))
		}
		unread, err := OpenSchemas(t.Context(), s.js, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		recorder := httptest.NewRecorder()
		unread.ServeSchema(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/schemas/acme/a.b/1", nil))
		assert.Equal(t, http.StatusServiceUnavailable, recorder.Code, "before it has read the bucket, not found would be a lie")
	})
}

func mustCompile(t *testing.T, text string) *schema.Schema {
	t.Helper()
	s, err := schema.Compile([]byte(text))
	require.NoError(t, err)
	return s
}

// BenchmarkAdmit is what a schema, and none, cost at match.
func BenchmarkAdmit(b *testing.B) {
	s := &Signer{schemas: &Schemas{}, logger: slog.New(slog.DiscardHandler)}
	s.schemas.confirmed.Store(time.Now().Add(time.Hour).UnixNano())
	e, err := event.Parse("events.acme.a.b", nats.Header{"ce-specversion": {"1.0"}, "ce-id": {"1"}, "ce-source": {"/s"}, "ce-type": {"a.b"}, "ce-datacontenttype": {"application/json"}}, []byte(`{"a":1}`))
	require.NoError(b, err)
	one := &stored{Event: e, at: time.Now()}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.admit(b.Context(), one, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func TestNothingIsAllocatedWithoutASchema(t *testing.T) {
	s := &Signer{schemas: &Schemas{}, logger: slog.New(slog.DiscardHandler)}
	s.schemas.confirmed.Store(time.Now().Add(time.Hour).UnixNano())
	one := stamped(t, `{"a":1}`)
	ctx := t.Context()
	assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = s.admit(ctx, one, nil) }))
}
