package kit

import (
	"context"
	"crypto/rand"
	"io"
	"log"
	"log/slog"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	handfastevent "github.com/handfast/handfast/pkg/event"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/receipt"
	"github.com/handfast/handfast/pkg/seal"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/stream/embedded"
	"github.com/handfast/handfast/pkg/telemetry"
	"github.com/handfast/handfast/services/dispatcher"
	"github.com/handfast/handfast/services/signer"
)

// ClientName is the identity under which the world's dispatchers call.
const ClientName = "spiffe://handfast.test/dispatcher"

// Bubble runs a story in virtual time. A goroutine that the server's clock package would start inside the bubble is
// started before it, because it would keep virtual time from advancing.
func Bubble(t *testing.T, story func(*testing.T)) {
	t.Helper()
	ats.Register()
	defer ats.Unregister()
	synctest.Test(t, story)
}

// World is everything around one test.
type World struct {
	T        *testing.T
	Topology stream.Topology
	Network  Network
	// ServerCA issues the receivers' certificates, ClientCA ours.
	ServerCA, ClientCA *authority.Authority
	Vault              signature.Vault
	Spans              *telemetry.Recorder
	// Identity is what dispatchers present as "default"; it may be replaced before Start, and nil leaves it to what is
	// stored.
	Identity mtls.Source
	// IdentityVault opens the stored identities.
	IdentityVault seal.Vault
	// Signer and Dispatcher are the settings of services that are started after a change.
	Signer     signer.Config
	Dispatcher dispatcher.Config

	Broker    *embedded.Server
	JS        jetstream.JetStream
	nc        *nats.Conn
	dir       string
	tracers   *sdktrace.TracerProvider
	log       lockedBuffer
	logger    *slog.Logger
	catalogue *stream.Catalogue
	services  []*Service
	count     int

	// reconnected guards JS for whoever works beside the story.
	reconnected sync.Mutex
}

// New starts a broker with an applied topology of four partitions, and mints the authorities.
func New(t *testing.T) *World {
	t.Helper()
	w := &World{T: t, Topology: stream.Topology{Partitions: 4}, Spans: telemetry.NewRecorder(0), dir: t.TempDir()}
	var err error
	w.ServerCA, err = authority.New("Receivers' test authority", authority.WithLeafLifetime(30*24*time.Hour))
	require.NoError(t, err)
	w.ClientCA, err = authority.New("Handfast test authority", authority.WithLeafLifetime(30*24*time.Hour))
	require.NoError(t, err)
	w.Identity = mtls.Static(w.Mint(authority.Leaf{URIs: URIs(ClientName), Client: true}))
	w.Vault.Current, err = signature.GenerateMasterKey(rand.Reader)
	require.NoError(t, err)
	w.IdentityVault.Current, err = seal.GenerateMasterKey(rand.Reader)
	require.NoError(t, err)
	// Long waits: in virtual time an idle system would otherwise spend days on heartbeats.
	w.Signer = signer.Config{FetchWait: time.Hour, TendInterval: time.Hour, Vault: w.Vault}
	w.Dispatcher = dispatcher.Config{
		FetchWait: time.Hour, LeaseTTL: 24 * time.Hour, SweepInterval: time.Hour, TendInterval: time.Hour, DrainTimeout: time.Second,
		Connections: mtls.Options{Dial: w.Network.Dial},
	}
	w.tracers = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(w.Spans))
	w.logger = telemetry.NewLogger(&w.log, telemetry.FormatText, slog.LevelDebug)
	w.StartBroker()
	require.NoError(t, w.Topology.Apply(t.Context(), w.JS))
	w.Topology, err = stream.LoadTopology(t.Context(), w.JS)
	require.NoError(t, err)
	t.Cleanup(func() {
		w.Stop()
		w.StopBroker()
		if t.Failed() {
			t.Log("the services said:\n" + w.LogText())
		}
	})
	return w
}

// URIs parses names for a leaf.
func URIs(names ...string) []*url.URL {
	all := make([]*url.URL, 0, len(names))
	for _, name := range names {
		u, err := url.Parse(name)
		if err != nil {
			panic(err) // the names are literals of tests
		}
		all = append(all, u)
	}
	return all
}

// Pass lets virtual time go by and everything that it sets in motion come to rest.
func (w *World) Pass(d time.Duration) {
	w.T.Helper()
	<-time.After(d)
	synctest.Wait()
}

// Mint issues a client identity under the world's own authority.
func (w *World) Mint(leaf authority.Leaf) *mtls.Identity {
	w.T.Helper()
	return w.MintUnder(w.ClientCA, leaf)
}

// MintUnder issues a client identity under another authority.
func (w *World) MintUnder(ca *authority.Authority, leaf authority.Leaf) *mtls.Identity {
	w.T.Helper()
	certificatePEM, keyPEM, err := ca.Issue(leaf)
	require.NoError(w.T, err)
	identity, err := mtls.NewIdentity("default", certificatePEM, keyPEM, time.Now())
	require.NoError(w.T, err)
	return identity
}

// StartBroker starts the broker on the world's directory and connects to it.
func (w *World) StartBroker() {
	w.T.Helper()
	var err error
	w.Broker, err = embedded.Start(embedded.Options{Dir: w.dir})
	require.NoError(w.T, err)
	w.nc = w.connect("test", w.Broker.Option())
	js, err := jetstream.New(w.nc)
	require.NoError(w.T, err)
	w.reconnected.Lock()
	defer w.reconnected.Unlock()
	w.JS, w.catalogue = js, nil
}

// stream is JS for goroutines beside the story, which alone restarts the broker.
func (w *World) stream() jetstream.JetStream {
	w.reconnected.Lock()
	defer w.reconnected.Unlock()
	return w.JS
}

// StopBroker ends it; its streams stay in the directory.
func (w *World) StopBroker() {
	if w.Broker == nil {
		return
	}
	w.nc.Close()
	w.Broker.Stop()
	w.Broker = nil
}

func (w *World) connect(name string, option nats.Option) *nats.Conn {
	w.T.Helper()
	nc, err := stream.Connect(name, "", w.logger, option)
	require.NoError(w.T, err)
	return nc
}

// Service is a running signer or dispatcher.
type Service struct {
	nc     *nats.Conn
	cancel context.CancelFunc
	ended  chan struct{}
}

// Stop lets the service drain.
func (s *Service) Stop() {
	s.cancel()
	<-s.ended
	s.nc.Close()
}

// Kill cuts the service off from the broker first, so that nothing that it still wants to say is heard.
func (s *Service) Kill() {
	s.nc.Close()
	s.cancel()
	<-s.ended
}

// Start starts one signer and one dispatcher.
func (w *World) Start() {
	w.T.Helper()
	w.StartSigner(w.Broker.Option())
	w.StartDispatcher(w.Broker.Option())
}

// StartSigner starts a signer that reaches the broker by the option.
func (w *World) StartSigner(option nats.Option) *Service {
	w.T.Helper()
	nc := w.connect("signer", option)
	s, err := signer.New(w.T.Context(), w.Signer, signer.Dependencies{
		NATS: nc, Logger: w.logger, TracerProvider: w.Tracers(), MeterProvider: metricnoop.NewMeterProvider(),
	})
	require.NoError(w.T, err)
	return w.run(nc, s.Run)
}

// StartDispatcher starts a dispatcher with an id of its own.
func (w *World) StartDispatcher(option nats.Option) *Service {
	w.T.Helper()
	w.count++
	config := w.Dispatcher
	config.ID = "dispatcher-" + strconv.Itoa(w.count)
	nc := w.connect("dispatcher", option)
	files := map[string]mtls.Source{}
	if w.Identity != nil {
		files["default"] = w.Identity
	}
	d, err := dispatcher.New(w.T.Context(), config, dispatcher.Dependencies{
		NATS: nc, Identities: files, Vault: w.IdentityVault, Logger: w.logger,
		TracerProvider: w.Tracers(), MeterProvider: metricnoop.NewMeterProvider(),
	})
	require.NoError(w.T, err)
	return w.run(nc, d.Run)
}

func (w *World) run(nc *nats.Conn, run func(context.Context) error) *Service {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Service{nc: nc, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		if err := run(ctx); err != nil {
			w.logger.Error("service ended", slog.Any("error", err))
		}
	}()
	w.services = append(w.services, s)
	return s
}

// Stop ends all services.
func (w *World) Stop() {
	for _, s := range w.services {
		s.Stop()
	}
	w.services = nil
}

// Sleep switches everything off, lets time go by at no cost, and switches the broker on again.
func (w *World) Sleep(d time.Duration) {
	w.T.Helper()
	w.Stop()
	w.StopBroker()
	w.Pass(d)
	w.StartBroker()
}

// LogText is everything that the services have logged.
func (w *World) LogText() string { return w.log.String() }

// Tracers records every span in w.Spans.
func (w *World) Tracers() trace.TracerProvider { return w.tracers }

// Apply stores an endpoint document.
func (w *World) Apply(document []byte) *endpoint.Endpoint {
	w.T.Helper()
	e, err := endpoint.Parse(document)
	require.NoError(w.T, err)
	if w.catalogue == nil {
		w.catalogue, err = w.Topology.OpenCatalogue(w.T.Context(), w.JS, w.logger)
		require.NoError(w.T, err)
	}
	_, err = w.catalogue.Apply(w.T.Context(), e)
	require.NoError(w.T, err)
	return e
}

// Publish publishes an event as a producer would and returns its sequence. Its id is new each time.
func (w *World) Publish(tenant, eventType, data string) uint64 {
	w.T.Helper()
	w.count++
	e := event.New()
	e.SetID("event-" + strconv.Itoa(w.count))
	e.SetSource("/tests")
	e.SetType(eventType)
	require.NoError(w.T, e.SetData(event.ApplicationJSON, []byte(data)))
	sequence, _, err := handfastevent.NewPublisher(w.JS, w.Tracers()).Publish(w.T.Context(), tenant, e)
	require.NoError(w.T, err)
	return sequence
}

// Keys are an endpoint's signing keys, opened.
func (w *World) Keys(key endpoint.Key) []signature.Key {
	w.T.Helper()
	keyring, err := signer.OpenKeyring(w.T.Context(), w.JS, w.Topology, w.Vault, w.logger)
	require.NoError(w.T, err)
	ring, err := keyring.Ring(w.T.Context(), key, signature.Standard())
	require.NoError(w.T, err)
	return ring.Keys()
}

// Receipts returns every receipt, in order.
func (w *World) Receipts() []receipt.Receipt {
	w.T.Helper()
	stored := w.messages(stream.Receipts)
	all := make([]receipt.Receipt, 0, len(stored))
	for _, msg := range stored {
		r, err := receipt.Parse(msg.Data)
		require.NoError(w.T, err)
		all = append(all, r)
	}
	return all
}

// Outcomes returns the outcomes of all receipts, in order.
func (w *World) Outcomes() []delivery.Outcome {
	w.T.Helper()
	receipts := w.Receipts()
	all := make([]delivery.Outcome, 0, len(receipts))
	for _, r := range receipts {
		all = append(all, r.Outcome)
	}
	return all
}

// Count is how many messages a stream holds.
func (w *World) Count(name string) int {
	w.T.Helper()
	s, err := w.JS.Stream(w.T.Context(), name)
	require.NoError(w.T, err)
	return int(s.CachedInfo().State.Msgs)
}

// DeadLetters returns every dead letter as it is stored.
func (w *World) DeadLetters() [][]byte {
	w.T.Helper()
	stored := w.messages(stream.DeadLetters)
	all := make([][]byte, 0, len(stored))
	for _, msg := range stored {
		all = append(all, msg.Data)
	}
	return all
}

func (w *World) messages(name string) []*jetstream.RawStreamMsg {
	w.T.Helper()
	s, err := w.JS.Stream(w.T.Context(), name)
	require.NoError(w.T, err)
	var all []*jetstream.RawStreamMsg
	state := s.CachedInfo().State
	for sequence := state.FirstSeq; sequence <= state.LastSeq && state.Msgs > 0; sequence++ {
		msg, err := s.GetMsg(w.T.Context(), sequence)
		if err != nil {
			require.ErrorIs(w.T, err, jetstream.ErrMsgNotFound)
			continue
		}
		all = append(all, msg)
	}
	return all
}

func (w *World) quietLog() *log.Logger { return log.New(io.Discard, "", 0) }
