package system

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/services/signer"
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
	for _, name := range []string{stream.Events, stream.Deliveries} {
		held, err := s.js.Stream(ctx, name)
		if err != nil {
			return false
		}
		consumers := held.ListConsumers(ctx)
		for info := range consumers.Info() {
			if info.NumPending+uint64(info.NumAckPending) > 0 {
				return false
			}
		}
		if consumers.Err() != nil {
			return false
		}
	}
	return s.messages(stream.Retries) == 0
}

// remains says what the broker still holds, and for whom.
func (s *installation) remains(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var text strings.Builder
	for _, name := range []string{stream.Events, stream.Deliveries, stream.Retries} {
		held, err := s.js.Stream(ctx, name)
		if err != nil {
			fmt.Fprintf(&text, "        %s: %v\n", name, err)
			continue
		}
		fmt.Fprintf(&text, "        %s: %d messages\n", name, held.CachedInfo().State.Msgs)
		consumers := held.ListConsumers(ctx)
		for info := range consumers.Info() {
			if info.NumPending+uint64(info.NumAckPending) > 0 {
				fmt.Fprintf(&text, "            %s: %d not handed out, %d handed out and not acknowledged, %d again\n", info.Name, info.NumPending, info.NumAckPending, info.NumRedelivered)
			}
		}
	}
	return "the broker holds\n" + text.String()
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
