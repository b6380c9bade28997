package system

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/event"
	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/receipt"
	"github.com/handfast/handfast/pkg/rotation"
	"github.com/handfast/handfast/pkg/seal"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
)

const (
	rotated = 200 // endpoints
	// underWay bounds what is published and has not arrived: the load is what the machine allows.
	underWay = 1000
	// refusers of the receivers do not accept the next identity, each in another way.
	refusers = 3
	nextName = "spiffe://handfast.test/next"
)

// TestRotationUnderLoad rotates two hundred endpoints under all the load that the machine allows, while dispatchers are
// killed.
func TestRotationUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("takes most of a minute")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := install(t)
	c := openCrowd(t, s.ca)
	bucket := s.setUpRotation(c)
	s.startStored()
	load := &load{at: s, crowd: c, stop: make(chan struct{}), ended: make(chan struct{})}
	go load.run(ctx)
	s.until(ctx, "everything works", func() bool { return c.arrived() >= underWay })

	began := time.Now()
	before := c.arrived()
	started, err := rotation.Start(rotation.Assign("default"), "default-2", time.Now(), "system test")
	require.NoError(t, err)
	value, err := started.Encode()
	require.NoError(t, err)
	_, err = bucket.Create(ctx, rotation.AssignmentKey("default"), value)
	require.NoError(t, err)
	for n := range 2 {
		s.pass(ctx, time.Second)
		s.dispatchers[n].kill()
		s.pass(ctx, time.Second)
		s.dispatchers[n].start()
	}
	stages := map[rotation.Stage]int{}
	s.until(ctx, "every endpoint is judged", func() bool {
		stages = judged(ctx, t, bucket)
		return stages[rotation.Accepted]+stages[rotation.Refused] == rotated
	})
	took := time.Since(began)
	s.pass(ctx, time.Second) // every dispatcher knows
	settled := time.Now()
	s.pass(ctx, max(3*time.Second, 15*time.Second-time.Since(began)))
	rate := float64(c.arrived()-before) / time.Since(began).Seconds()
	close(load.stop)
	<-load.ended
	require.NoError(t, load.problem)
	s.until(ctx, "all has arrived but for what the killed ones held", func() bool { return load.published()-c.arrived() <= s.held(ctx) })

	assert.Equal(t, map[rotation.Stage]int{rotation.Accepted: rotated / receivers * (receivers - refusers), rotation.Refused: rotated / receivers * refusers}, stages)
	assert.Empty(t, c.complaints(settled))
	failed := s.failures(ctx)
	assert.Empty(t, failed, "attempts that did not deliver")
	assert.Zero(t, s.messages(stream.DeadLetters))
	assert.Zero(t, s.messages(stream.Backlog))
	for _, p := range s.services() {
		p.alive()
	}
	t.Logf("%d endpoints judged in %.1f s at %.0f deliveries/s, two dispatchers killed; %d published, %d arrived, %d with the broker until AckWait; %v",
		rotated, took.Seconds(), rate, load.published(), c.arrived(), s.held(ctx), c.names())
}

// setUpRotation makes streams, secrets, both identities and the endpoints.
func (s *installation) setUpRotation(c *crowd) *stream.Bucket {
	s.t.Helper()
	ctx, logger := s.t.Context(), slog.New(slog.DiscardHandler)
	topology := launch(s.t, s.dir, "topology", binary(s.t), nil, "topology", "apply", "--server", "nats://"+s.address)
	<-topology.ended
	require.Zero(s.t, topology.command.ProcessState.ExitCode(), topology.tail(4<<10))
	master, err := signature.GenerateMasterKey(rand.Reader)
	require.NoError(s.t, err)
	s.write("master.key", []byte(master.Reveal()+"\n"))
	key, err := seal.GenerateMasterKey(rand.Reader)
	require.NoError(s.t, err)
	s.write("identity.key", []byte(key.Reveal()+"\n"))
	bucket, err := stream.OpenBucket(ctx, s.js, stream.IdentityBucket, logger)
	require.NoError(s.t, err)
	for name, uri := range map[string]string{"default": client, "default-2": nextName} {
		certificate, private, err := s.ca.Client(uri)
		require.NoError(s.t, err)
		record, err := identity.ImportPEM(name, certificate, private, seal.Vault{Current: key}, time.Now())
		require.NoError(s.t, err)
		value, err := record.Encode()
		require.NoError(s.t, err)
		_, err = bucket.Create(ctx, record.Key(), value)
		require.NoError(s.t, err)
	}
	applied, err := stream.LoadTopology(ctx, s.js)
	require.NoError(s.t, err)
	catalogue, err := applied.OpenCatalogue(ctx, s.js, logger)
	require.NoError(s.t, err)
	for n := range rotated {
		document, err := json.Marshal(map[string]any{
			"tenant": tenant, "name": endpointName(n), "url": fmt.Sprintf("https://%s/hooks/%d", c.hosts[n%receivers], n),
			"filter": map[string]any{"types": []string{eventType(n)}},
			"tls":    map[string]any{"trust": map[string]any{"roots": string(s.ca.CertificatePEM())}},
		})
		require.NoError(s.t, err)
		e, err := endpoint.Parse(document)
		require.NoError(s.t, err)
		_, err = catalogue.Apply(ctx, e)
		require.NoError(s.t, err)
	}
	return bucket
}

// startStored starts the services with stored identities only.
func (s *installation) startStored() {
	s.t.Helper()
	common := []string{"--server", "nats://" + s.address, "--http="}
	for n := range s.signers {
		s.signers[n] = launch(s.t, s.dir, "signer-"+strconv.Itoa(n), binary(s.t), nil,
			append([]string{"signer", "--master-key-file", s.file("master.key")}, common...)...)
	}
	for n := range s.dispatchers {
		name := "dispatcher-" + strconv.Itoa(n)
		s.dispatchers[n] = launch(s.t, s.dir, name, binary(s.t), nil, append([]string{
			"dispatcher", "--id", name, "--identity-key-file", s.file("identity.key"), "--allow", "127.0.0.0/8",
		}, common...)...)
	}
}

// judged counts the endpoints by stage.
func judged(ctx context.Context, t *testing.T, bucket *stream.Bucket) map[rotation.Stage]int {
	t.Helper()
	entries, err := bucket.List(ctx, "rotation.default.>")
	require.NoError(t, err)
	stages := make(map[rotation.Stage]int)
	for _, entry := range entries {
		status, err := rotation.ParseStatus(entry.Value)
		require.NoError(t, err)
		stages[status.Stage]++
	}
	return stages
}

// held is how many deliveries the broker has handed out and not got back.
func (s *installation) held(ctx context.Context) (sum int) {
	s.t.Helper()
	deliveries, err := s.js.Stream(ctx, stream.Deliveries)
	require.NoError(s.t, err)
	consumers := deliveries.ListConsumers(ctx)
	for info := range consumers.Info() {
		sum += info.NumAckPending
	}
	require.NoError(s.t, consumers.Err())
	return sum
}

// failures reads every receipt and tells those of attempts that did not deliver.
func (s *installation) failures(ctx context.Context) (failed []string) {
	s.t.Helper()
	left := s.messages(stream.Receipts)
	consumer, err := s.js.OrderedConsumer(ctx, stream.Receipts, jetstream.OrderedConsumerConfig{})
	require.NoError(s.t, err)
	for left > 0 {
		batch, err := consumer.Fetch(min(left, 1000), jetstream.FetchMaxWait(10*time.Second))
		require.NoError(s.t, err)
		for msg := range batch.Messages() {
			left--
			r, err := receipt.Parse(msg.Data())
			require.NoError(s.t, err)
			if r.Outcome != delivery.Delivered && len(failed) < 20 {
				failed = append(failed, fmt.Sprintf("%s attempt %d: %s: %s", r.Endpoint, r.Attempt, r.Outcome, r.Detail))
			}
		}
		require.NoError(s.t, batch.Error())
		require.NoError(s.t, ctx.Err())
	}
	return failed
}

// load publishes as fast as deliveries arrive.
type load struct {
	at      *installation
	crowd   *crowd
	stop    chan struct{}
	ended   chan struct{}
	problem error

	mu    sync.Mutex
	count int
}

func (l *load) published() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

func (l *load) run(ctx context.Context) {
	defer close(l.ended)
	full := time.NewTicker(time.Millisecond)
	defer full.Stop()
	var acks []jetstream.PubAckFuture
	for n := 0; ; n++ {
		for l.published()-l.crowd.arrived() >= underWay {
			select {
			case <-full.C:
			case <-l.stop:
				return
			case <-ctx.Done():
				l.problem = ctx.Err()
				return
			}
		}
		id, kind := strconv.Itoa(n), eventType(n%rotated)
		ack, err := l.at.js.PublishMsgAsync(&nats.Msg{
			Subject: "events." + tenant + "." + kind,
			Header: nats.Header{
				"ce-specversion": {"1.0"}, "ce-type": {kind}, "ce-source": {source}, "ce-id": {id},
				"ce-datacontenttype": {"application/json"}, nats.MsgIdHdr: {event.MessageID(tenant, source, id)},
			},
			Data: fmt.Appendf(nil, `{"number":%d}`, n),
		}, jetstream.WithStallWait(5*time.Second))
		if err == nil {
			acks = append(acks, ack)
		}
		if len(acks) >= 64 || err != nil {
			err = errors.Join(err, confirmed(ctx, acks))
			acks = acks[:0]
		}
		if err != nil {
			l.problem = err
			return
		}
		l.mu.Lock()
		l.count++
		l.mu.Unlock()
	}
}

func confirmed(ctx context.Context, acks []jetstream.PubAckFuture) error {
	for _, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
