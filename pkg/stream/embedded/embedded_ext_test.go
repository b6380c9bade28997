package embedded_test

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream/embedded"
)

func TestItListensOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	for address, says := range map[string]string{
		"0.0.0.0:4222":       "must stay on a loopback address",
		":4222":              "must stay on a loopback address",
		"[::]:4222":          "must stay on a loopback address",
		"192.0.2.1:4222":     "must stay on a loopback address",
		"10.0.0.1:0":         "must stay on a loopback address",
		"localhost:4222":     "must stay on a loopback address",
		"example.com:4222":   "must stay on a loopback address",
		"127.0.0.1":          "missing port",
		"127.0.0.1:":         `port "" is not a number`,
		"127.0.0.1:4222x":    `port "4222x" is not a number`,
		"127.0.0.1:-1":       `port "-1" is not a number`,
		"127.0.0.1:65536":    `port "65536" is not a number`,
		"127.0.0.1:1 :4222":  "too many colons",
		"nats://127.0.0.1:1": "too many colons",
	} {
		_, err := embedded.Start(embedded.Options{Dir: t.TempDir(), Listen: address})
		require.ErrorContains(t, err, says, address)
	}
}

func TestWhatKeepsItFromServingIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	_, err := embedded.Start(embedded.Options{})
	require.ErrorContains(t, err, "needs a directory", "and does not fall back to a shared one")

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = embedded.Start(embedded.Options{Dir: file})
	require.ErrorContains(t, err, "cannot make its directory")

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	_, err = embedded.Start(embedded.Options{Dir: t.TempDir(), Listen: taken.Addr().String()})
	require.ErrorContains(t, err, "address already in use")
}

func TestItServesThisProcessWithoutASocket(t *testing.T) {
	t.Parallel()
	s, err := embedded.Start(embedded.Options{Dir: filepath.Join(t.TempDir(), "made", "for it")})
	require.NoError(t, err)
	defer s.Stop()
	assert.Empty(t, s.URL(), "it listens nowhere")
	nc, err := nats.Connect("", s.Option())
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.AccountInfo(t.Context())
	require.NoError(t, err)
}

func TestItServesOthersWhenAskedTo(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		probe, err := net.Listen("tcp", address)
		if err != nil {
			continue // this machine has no IPv6
		}
		probe.Close()
		s, err := embedded.Start(embedded.Options{Dir: t.TempDir(), Listen: address})
		require.NoError(t, err)
		host, port, err := net.SplitHostPort(strings.TrimPrefix(s.URL(), "nats://"))
		require.NoError(t, err)
		assert.True(t, net.ParseIP(host).IsLoopback(), s.URL())
		n, err := strconv.Atoi(port)
		require.NoError(t, err)
		assert.Positive(t, n)
		url := s.URL() // gone afterwards, and without one a client tries the usual port, where somebody else may be
		nc, err := nats.Connect(url)
		require.NoError(t, err, "over the socket")
		nc.Close()
		s.Stop()
		_, err = nats.Connect(url)
		require.Error(t, err, "stopped is stopped")
	}
}

func TestItRestartsWithItsData(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 3 {
		s, err := embedded.Start(embedded.Options{Dir: dir})
		require.NoError(t, err)
		nc, err := nats.Connect("", s.Option())
		require.NoError(t, err)
		js, err := jetstream.New(nc)
		require.NoError(t, err)
		events, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Storage: jetstream.FileStorage})
		require.NoError(t, err)
		assert.Equal(t, uint64(round), events.CachedInfo().State.Msgs, "what was stored before")
		_, err = js.Publish(t.Context(), "s", []byte(strconv.Itoa(round)))
		require.NoError(t, err)
		msg, err := events.GetMsg(t.Context(), 1)
		require.NoError(t, err)
		assert.Equal(t, "0", string(msg.Data))
		nc.Close()
		s.Stop()
	}
}

func TestItsStoreCanBeBounded(t *testing.T) {
	t.Parallel()
	s, err := embedded.Start(embedded.Options{Dir: t.TempDir(), MaxStore: 1 << 20})
	require.NoError(t, err)
	defer s.Stop()
	nc, err := nats.Connect("", s.Option())
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, MaxBytes: 1<<20 + 1})
	require.ErrorContains(t, err, "insufficient storage resources")
}
