package stream_test

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream"
)

func TestWhatIsMissingIsNamedUntilItIsBack(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		gone               string
		streams            []string
		consumers          [][2]string
		signer, dispatcher []string
	}{
		{gone: "nothing"},
		{gone: "a stream", streams: []string{stream.Events}, signer: []string{"stream EVENTS"}},
		{gone: "another", streams: []string{stream.Retries}, signer: []string{"consumer RETRIES/due"}, dispatcher: []string{"stream RETRIES"}},
		{gone: "a consumer", consumers: [][2]string{{stream.Events, stream.SignerConsumer}}, signer: []string{"consumer EVENTS/signer"}},
		{
			gone: "two buckets", streams: []string{"KV_" + stream.EndpointBucket, "KV_" + stream.SigningKeyBucket},
			signer: []string{"bucket endpoints", "bucket signing-keys"}, dispatcher: []string{"bucket endpoints"},
		},
	} {
		t.Run(test.gone, func(t *testing.T) {
			t.Parallel()
			b, topology := applied(t)
			for _, name := range test.streams {
				require.NoError(t, b.js.DeleteStream(t.Context(), name))
			}
			for _, of := range test.consumers {
				require.NoError(t, b.js.DeleteConsumer(t.Context(), of[0], of[1]))
			}
			for _, of := range []struct {
				parts stream.Parts
				want  []string
			}{{stream.SignerParts(), test.signer}, {stream.DispatcherParts(), test.dispatcher}} {
				err := of.parts.Missing(t.Context(), b.js)
				if of.want == nil {
					require.NoError(t, err)
					continue
				}
				var missing *stream.MissingError
				require.ErrorAs(t, err, &missing)
				assert.Equal(t, of.want, missing.Names)
				require.ErrorContains(t, err, "run `handfast topology apply`")
			}
			require.NoError(t, topology.Apply(t.Context(), b.js))
			require.NoError(t, stream.SignerParts().Missing(t.Context(), b.js))
			require.NoError(t, stream.DispatcherParts().Missing(t.Context(), b.js))
		})
	}
}

func TestAServerWithoutJetStreamIsTold(t *testing.T) {
	t.Parallel()
	plain, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true})
	require.NoError(t, err)
	plain.Start()
	t.Cleanup(plain.Shutdown)
	nc, err := nats.Connect("", nats.InProcessServer(plain))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = stream.LoadTopology(t.Context(), js)
	require.ErrorIs(t, err, stream.ErrNoJetStream)
	require.ErrorContains(t, err, "nats-server -js")
	require.ErrorIs(t, stream.SignerParts().Missing(t.Context(), js), stream.ErrNoJetStream)
}
