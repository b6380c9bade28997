package system

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/event"
	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/services/signer"
)

const (
	dispatchers = 3
	signers     = 2
	events      = 20_000
	// eventRate is how many events a second are published, so that all the kills fall into the work.
	eventRate = 1100
	// between is the time from one kill to the next, and down how long a service stays away. What a killed process
	// held comes back after AckWait (a minute), so the kills have to be over early.
	between = 2 * time.Second
	down    = time.Second
	// planned is how long the story may take on a machine that keeps up, most how long it is given on one that does not.
	planned = 2 * time.Minute
	most    = 3 * time.Minute
)

// installation is everything that runs outside this process, and the way to it.
type installation struct {
	t           *testing.T
	began       time.Time
	dir         string
	address     string
	nats        *process
	dispatchers [dispatchers]*process
	signers     [signers]*process
	ca          *authority.Authority
	js          jetstream.JetStream
}

// TestKill is the promise of Handfast: kill what you like, whenever you like; every event that was acknowledged arrives
// at every endpoint that wants it, and a repetition can be told by its webhook-id.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("takes more than a minute")
	}
	l := newLedger()
	s := install(t)
	h := openHooks(t, s.ca, l)
	s.setUp(h)
	s.startServices()
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	published := make(chan error, 1)
	go func() { published <- s.publish(ctx, l) }()
	s.until(ctx, "the services work", func() bool { _, came, _ := l.counts(); return came >= endpoints })
	kills := s.killInTurn(ctx, l)
	require.NoError(t, <-published)
	polls := 0
	s.until(ctx, "every event has arrived and nothing is under way", func() bool {
		polls++
		if polls%20 == 0 {
			s.progress(l)
		}
		_, came, _ := l.counts()
		return came >= events && s.idle(ctx)
	})
	s.progress(l)
	for _, p := range s.services() {
		p.alive()
	}
	judge(t, s, l, kills)
}

// kill is one SIGKILL.
type kill struct {
	at     time.Time
	victim string
	// underWay is how many messages had been handed out and not acknowledged, or, for the broker, may have been: no
	// others can come again because of this kill.
	underWay int
}

// judge compares the two sides of the ledger.
func judge(t *testing.T, s *installation, l *ledger, kills []kill) {
	t.Helper()
	acked, deliveries, requests := l.counts()
	assert.Equal(t, events, acked)
	assert.Empty(t, l.missing(), "every event that was acknowledged arrives")
	assert.Equal(t, events, deliveries, "nothing arrives that was not published")
	assert.Empty(t, l.complaints(), "every signature verifies, and one delivery has one webhook-id")
	firsts, extra := l.repeated()
	bound := 0
	for i, k := range kills {
		bound += k.underWay
		repeats := 0
		for _, first := range firsts {
			if first.Before(k.at) && (i == 0 || !first.Before(kills[i-1].at)) {
				repeats++
			}
		}
		t.Logf("%-13s killed at %4.1f s: %4d messages under way, %3d requests from before it came again", k.victim, k.at.Sub(s.began).Seconds(), k.underWay, repeats)
	}
	assert.LessOrEqual(t, extra, bound, "only what was under way at a kill comes again")
	assert.Zero(t, s.messages(stream.DeadLetters), "nothing is given up")
	assert.Zero(t, s.messages(stream.Retries), "nothing waits")
	t.Logf("%d events acknowledged, %d deliveries, %d requests: %d repeated (bound %d), 0 lost, after %d kills, in %.0f s",
		acked, deliveries, requests, extra, bound, len(kills), time.Since(s.began).Seconds())
}

// install starts the NATS server and connects to it.
func install(t *testing.T) *installation {
	t.Helper()
	s := &installation{t: t, dir: t.TempDir(), address: freeAddress(t)}
	data := filepath.Join(s.dir, "nats")
	require.NoError(t, os.Mkdir(data, 0o700))
	binary(t) // compile before the clock runs
	s.began = time.Now()
	s.nats = launchNATS(t, s.dir, data, s.address)
	nc, err := stream.Connect("system", "nats://"+s.address, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	s.js, err = jetstream.New(nc)
	require.NoError(t, err)
	s.until(t.Context(), "the NATS server answers", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.js.AccountInfo(ctx)
		return err == nil
	})
	s.ca, err = authority.New("Handfast system test authority")
	require.NoError(t, err)
	return s
}

func (s *installation) file(name string) string { return filepath.Join(s.dir, name) }

func (s *installation) write(name string, content []byte) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(s.file(name), content, 0o600))
}

// setUp makes the streams, the secrets and the endpoints, and gives the receivers their keys.
func (s *installation) setUp(h *hooks) {
	s.t.Helper()
	ctx := s.t.Context()
	topology := launch(s.t, s.dir, "topology", binary(s.t), nil, "topology", "apply", "--server", "nats://"+s.address)
	<-topology.ended
	require.Zero(s.t, topology.command.ProcessState.ExitCode(), topology.tail(4<<10))
	certificate, key, err := s.ca.Client(client)
	require.NoError(s.t, err)
	s.write("identity.crt.pem", certificate)
	s.write("identity.key.pem", key)
	master, err := signature.GenerateMasterKey(rand.Reader)
	require.NoError(s.t, err)
	s.write("master.key", []byte(master.Reveal()+"\n"))

	applied, err := stream.LoadTopology(ctx, s.js)
	require.NoError(s.t, err)
	logger := slog.New(slog.DiscardHandler)
	catalogue, err := applied.OpenCatalogue(ctx, s.js, logger)
	require.NoError(s.t, err)
	keyring, err := signer.OpenKeyring(ctx, s.js, applied, signature.Vault{Current: master}, logger)
	require.NoError(s.t, err)
	for n := range endpoints {
		document, err := json.Marshal(map[string]any{
			"tenant": tenant, "name": endpointName(n), "url": fmt.Sprintf("https://%s/hooks/%d", h.hosts[n%receivers], n),
			"filter": map[string]any{"types": []string{eventType(n)}},
			"tls":    map[string]any{"trust": map[string]any{"roots": string(s.ca.CertificatePEM())}},
		})
		require.NoError(s.t, err)
		e, err := endpoint.Parse(document)
		require.NoError(s.t, err)
		ring, err := keyring.Ring(ctx, e.Key(), e.Signature.Schemes)
		require.NoError(s.t, err)
		h.setKeys(s.t, n, ring.Keys())
		_, err = catalogue.Apply(ctx, e)
		require.NoError(s.t, err)
	}
}

func (s *installation) startServices() {
	s.t.Helper()
	common := []string{"--server", "nats://" + s.address, "--http="}
	for n := range s.signers {
		s.signers[n] = launch(s.t, s.dir, "signer-"+strconv.Itoa(n), binary(s.t), nil,
			append([]string{"signer", "--master-key-file", s.file("master.key")}, common...)...)
	}
	for n := range s.dispatchers {
		name := "dispatcher-" + strconv.Itoa(n)
		s.dispatchers[n] = launch(s.t, s.dir, name, binary(s.t), nil, append([]string{
			"dispatcher", "--id", name, "--identity", "default=" + s.file("identity.crt.pem") + "," + s.file("identity.key.pem"), "--allow", "127.0.0.0/8",
		}, common...)...)
	}
}

func (s *installation) services() []*process {
	return append(append([]*process{s.nats}, s.signers[:]...), s.dispatchers[:]...)
}

// publish is the producer: plain nats.go, and an event counts only when the broker has acknowledged it.
func (s *installation) publish(ctx context.Context, l *ledger) error {
	next := make(chan int)
	var workers sync.WaitGroup
	problems := make(chan error, 64)
	for range cap(problems) {
		workers.Go(func() {
			for n := range next {
				if err := s.publishOne(ctx, n); err != nil {
					problems <- err
					return
				}
				l.publish(strconv.Itoa(n), n%endpoints)
			}
		})
	}
	err := pace(ctx, next)
	workers.Wait()
	close(problems)
	for problem := range problems {
		err = errors.Join(err, problem)
	}
	return err
}

// pace gives out the numbers of the events at eventRate.
func pace(ctx context.Context, next chan<- int) error {
	defer close(next)
	tick := time.NewTicker(time.Second / eventRate)
	defer tick.Stop()
	for n := range events {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case next <- n:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// publishOne tries until the event is stored. The same id makes that once, whatever was lost on the way.
func (s *installation) publishOne(ctx context.Context, n int) error {
	id := strconv.Itoa(n)
	pause := time.NewTicker(50 * time.Millisecond)
	defer pause.Stop()
	for {
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := s.js.PublishMsg(attempt, &nats.Msg{
			Subject: "events." + tenant + "." + eventType(n%endpoints),
			Header: nats.Header{
				"ce-specversion": {"1.0"}, "ce-type": {eventType(n % endpoints)}, "ce-source": {source}, "ce-id": {id},
				"ce-datacontenttype": {"application/json"}, nats.MsgIdHdr: {event.MessageID(tenant, source, id)},
			},
			Data: fmt.Appendf(nil, `{"number":%d}`, n),
		})
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return fmt.Errorf("event %d was never acknowledged: %w", n, err)
		}
	}
}

// killInTurn kills and restarts everything once and more, while events flow.
func (s *installation) killInTurn(ctx context.Context, l *ledger) []kill {
	s.t.Helper()
	victims := []*process{
		s.dispatchers[0], s.signers[0], s.nats, s.dispatchers[1], s.signers[1], s.dispatchers[2], s.nats, s.dispatchers[0],
	}
	tick := time.NewTicker(between)
	defer tick.Stop()
	kills := make([]kill, 0, len(victims))
	for _, victim := range victims {
		s.progress(l)
		victim.alive()
		k := kill{at: time.Now(), victim: victim.name}
		victim.kill()
		if victim == s.nats {
			victim.start()
			k.underWay = s.survived(ctx)
		} else {
			k.underWay = s.handedOut(ctx)
			s.pass(ctx, down)
			victim.start()
		}
		kills = append(kills, k)
		select {
		case <-tick.C:
		case <-ctx.Done():
			require.NoError(s.t, ctx.Err())
		}
	}
	return kills
}

// handedOut is how many messages services hold, the dead one's included.
func (s *installation) handedOut(ctx context.Context) int {
	s.t.Helper()
	sum := 0
	for _, name := range []string{stream.Events, stream.Deliveries} {
		held, err := s.js.Stream(ctx, name)
		require.NoError(s.t, err)
		consumers := held.ListConsumers(ctx)
		for info := range consumers.Info() {
			sum += info.NumAckPending
		}
		require.NoError(s.t, consumers.Err())
	}
	return sum
}

// survived waits for the broker and counts what it has come back with and may hand out again, whether it remembers
// handing it out before or not: deliveries that are still there, and events that are not acknowledged.
func (s *installation) survived(ctx context.Context) int {
	s.t.Helper()
	sum := 0
	s.until(ctx, "the NATS server is back", func() bool {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		deliveries, err := s.js.Stream(ctx, stream.Deliveries)
		if err != nil {
			return false
		}
		signing, err := s.js.Consumer(ctx, stream.Events, stream.SignerConsumer)
		if err != nil {
			return false
		}
		state := signing.CachedInfo()
		sum = int(deliveries.CachedInfo().State.Msgs) + state.NumAckPending + int(state.NumPending)
		return true
	})
	return sum
}

// idle reports whether nothing waits and nothing is under way.
func (s *installation) idle(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	signing, err := s.js.Consumer(ctx, stream.Events, stream.SignerConsumer)
	if err != nil {
		return false
	}
	state := signing.CachedInfo()
	return state.NumPending == 0 && state.NumAckPending == 0 && s.messages(stream.Deliveries) == 0 && s.messages(stream.Retries) == 0
}

// messages is how many messages a stream holds, or -1 when the broker does not say.
func (s *installation) messages(name string) int {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), 2*time.Second)
	defer cancel()
	held, err := s.js.Stream(ctx, name)
	if err != nil {
		return -1
	}
	return int(held.CachedInfo().State.Msgs)
}

// progress says how far everything is.
func (s *installation) progress(l *ledger) {
	s.t.Helper()
	acked, came, requests := l.counts()
	s.t.Logf("%5.1f s: %5d events acknowledged, %5d deliveries arrived, %d requests", time.Since(s.began).Seconds(), acked, came, requests)
}

// until waits for a condition.
func (s *installation) until(ctx context.Context, what string, holds func() bool) {
	s.t.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			require.NoError(s.t, ctx.Err(), "not in time: "+what)
		}
	}
}

// pass lets time go by.
func (s *installation) pass(ctx context.Context, d time.Duration) {
	s.t.Helper()
	select {
	case <-time.After(d):
	case <-ctx.Done():
		require.NoError(s.t, ctx.Err())
	}
}

// The plan must leave room: for the last kill, for AckWait, and for building, starting and a moment of work.
func TestKillFits(t *testing.T) {
	last := 8*between + down
	assert.Less(t, last+stream.AckWait+30*time.Second, planned)
	assert.Greater(t, time.Duration(events/eventRate)*time.Second, last, "events flow until the last kill")
}
