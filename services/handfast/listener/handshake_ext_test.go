package listener_test

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls/authority"
)

func TestCallersWithoutOurCertificateAreRefusedAndTold(t *testing.T) {
	w := start(t, nil)
	_, err := w.post(t, w.client(t, nil), nil)
	require.Error(t, err)
	h := <-w.shook
	assert.Contains(t, h.Refusal, "client didn't provide a certificate")
	assert.Empty(t, h.Chain)
	other, err := authority.New("another authority")
	require.NoError(t, err)
	_, err = w.post(t, w.client(t, other), nil)
	require.Error(t, err)
	h = <-w.shook
	assert.Contains(t, h.Refusal, "unknown authority")
	assert.Empty(t, h.Checked)
	require.Len(t, h.Chain, 1, "a chain that is not believed is shown all the same")
	assert.Equal(t, "CN=another authority", h.Chain[0].Issuer)
	assert.Empty(t, w.shown)
}

// Certificates of the same CA are not enough.
func TestOnlyTheNamedCallerIsLetIn(t *testing.T) {
	for name, uri := range map[string]string{
		"another":        "spiffe://handfast.test/receiver",
		"longer":         "spiffe://handfast.test/dispatcher2",
		"shorter":        "spiffe://handfast.test/dispatche",
		"other capitals": "spiffe://handfast.test/Dispatcher",
		"inside":         "spiffe://elsewhere.test/spiffe://handfast.test/dispatcher",
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, nil)
			w.name = uri
			_, err := w.post(t, w.client(t, w.ca), nil)
			require.Error(t, err)
			h := <-w.shook
			assert.Contains(t, h.Refusal, "its names are "+uri+", and only spiffe://handfast.test/other, spiffe://handfast.test/dispatcher may call here")
			assert.Empty(t, h.Checked)
			assert.Empty(t, w.shown)
		})
	}
}

func TestHandshakeIsShownInFull(t *testing.T) {
	w := start(t, nil)
	client := w.client(t, w.ca)
	for range 2 { // on one connection
		_, err := w.post(t, client, nil)
		require.NoError(t, err)
	}
	h := <-w.shook
	assert.Empty(t, w.shook)
	assert.Equal(t, "TLS 1.3", h.Version)
	assert.NotEmpty(t, h.Cipher)
	assert.NotEmpty(t, h.Curve)
	assert.Equal(t, "h2", h.Protocol)
	assert.False(t, h.Resumed)
	assert.Empty(t, h.Refusal)
	require.Len(t, h.Chain, 1)
	assert.Equal(t, []string{"spiffe://handfast.test/dispatcher"}, h.Chain[0].Names)
	assert.Equal(t, "CN=test authority", h.Chain[0].Issuer)
	assert.Regexp(t, "^[0-9a-f]{64}$", h.Chain[0].Fingerprint)
	assert.Less(t, time.Now(), h.Chain[0].NotAfter)
	assert.Equal(t, []string{
		"issued under CN=test authority", "for clients (clientAuth)", "valid now", "key proved by its signature over this handshake",
		"name spiffe://handfast.test/dispatcher compared whole",
	}, h.Checked)
	for range 2 {
		d := <-w.shown
		require.NotNil(t, d.Handshake)
		assert.Equal(t, h.Chain, d.Handshake.Chain)
		assert.Equal(t, h.Remote, d.Handshake.Remote)
	}
}

func TestACallerThatHangsUpIsTold(t *testing.T) {
	w := start(t, nil)
	connection, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", w.open.Address())
	require.NoError(t, err)
	require.NoError(t, connection.Close())
	assert.Contains(t, (<-w.shook).Refusal, "the caller hung up in the middle of it")
}

func TestACallerThatDistrustsUsIsTold(t *testing.T) {
	w := start(t, nil)
	trusted := w.ca
	other, err := authority.New("another authority")
	require.NoError(t, err)
	w.ca = other
	client := w.client(t, trusted)
	_, err = w.post(t, client, nil)
	require.Error(t, err)
	assert.Contains(t, (<-w.shook).Refusal, "the caller refused our certificate: remote error: tls: bad certificate")
}
