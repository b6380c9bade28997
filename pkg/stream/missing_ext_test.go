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
		remove             func(*testing.T, jetstream.JetStream) error
		signer, dispatcher []string
	}{
		{"nothing", func(*testing.T, jetstream.JetStream) error { return nil }, nil, nil},
		{
			"EVENTS", func(t *testing.T, js jetstream.JetStream) error { return js.DeleteStream(t.Context(), stream.Events) },
			[]string{"stream EVENTS"},
			nil,
		},
		{
			"RETRIES", func(t *testing.T, js jetstream.JetStream) error { return js.DeleteStream(t.Context(), stream.Retries) },
			[]string{"consumer RETRIES/due"},
			[]string{"stream RETRIES"},
		},
		{
			"a consumer", func(t *testing.T, js jetstream.JetStream) error {
				return js.DeleteConsumer(t.Context(), stream.Events, stream.SignerConsumer)
			},
			[]string{"consumer EVENTS/signer"},
			nil,
		},
		{
			"two buckets", func(t *testing.T, js jetstream.JetStream) error {
				require.NoError(t, js.DeleteKeyValue(t.Context(), stream.EndpointBucket))
				return js.DeleteKeyValue(t.Context(), stream.SigningKeyBucket)
			},
			[]string{"bucket endpoints", "bucket signing-keys"},
			[]string{"bucket endpoints"},
		},
	} {
		t.Run(test.gone, func(t *testing.T) {
			t.Parallel()
			b, topology := applied(t)
			require.NoError(t, test.remove(t, b.js))
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
				assert.ErrorContains(t, err, "run `handfast topology apply`")
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
