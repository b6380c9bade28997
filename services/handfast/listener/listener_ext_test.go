package listener_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/services/handfast/listener"
)

// world is a development authority, a key, and a listener that shows into a channel.
type world struct {
	ca    *authority.Authority
	key   signature.Key
	open  *listener.Listener
	shown chan listener.Delivery
	// name is the one in the certificate of clients.
	name  string
	shook chan listener.Handshake
	// stop ends it, and gives what Serve gives.
	stop func() error
}

func start(t *testing.T, change func(*world, *listener.Options)) *world {
	t.Helper()
	w := &world{name: "spiffe://handfast.test/dispatcher", shown: make(chan listener.Delivery, 8), shook: make(chan listener.Handshake, 8)}
	var err error
	w.ca, err = authority.New("test authority")
	require.NoError(t, err)
	text, err := w.ca.Marshal()
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "authority.pem"), text, 0o600))
	w.key, err = signature.GenerateKey(signature.V1, time.Now(), rand.Reader)
	require.NoError(t, err)
	w.key.State = signature.Active
	o := listener.Options{
		Address: "127.0.0.1:0", Dir: dir, Show: func(d listener.Delivery) { w.shown <- d }, Shook: func(h listener.Handshake) { w.shook <- h },
		Clients: []string{"spiffe://handfast.test/other", "spiffe://handfast.test/dispatcher"},
	}
	if change != nil {
		change(w, &o)
	}
	w.open, err = listener.Open(t.Context(), o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.open.Serve(ctx) }()
	w.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { assert.NoError(t, w.stop()) })
	return w
}

func (w *world) verifier(tb testing.TB) signature.Verifier {
	tb.Helper()
	v, err := w.key.Verifier()
	require.NoError(tb, err)
	return v
}

// client makes a caller; without issuer it has no certificate.
func (w *world) client(tb testing.TB, issuer *authority.Authority) *http.Client {
	tb.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(w.ca.Certificate())
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if issuer != nil {
		certificatePEM, keyPEM, err := issuer.Client(w.name)
		require.NoError(tb, err)
		certificate, err := tls.X509KeyPair(certificatePEM, keyPEM)
		require.NoError(tb, err)
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil }
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	tb.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

const body = `{"specversion":"1.0","id":"42","source":"/shop","type":"com.acme.order.created"}`

func (w *world) post(tb testing.TB, client *http.Client, change func(*http.Request)) (int, error) {
	tb.Helper()
	request, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, "https://"+w.open.Address()+"/", strings.NewReader(body))
	require.NoError(tb, err)
	ring, err := signature.NewRing(w.key)
	require.NoError(tb, err)
	fields, _, err := signature.Signer{}.Sign(signature.Request{ID: "msg_1", Time: time.Now(), Method: http.MethodPost, URL: request.URL.String(), Body: []byte(body)}, []string{signature.V1}, ring)
	require.NoError(tb, err)
	for _, f := range fields {
		request.Header.Set(f.Name, f.Value)
	}
	if change != nil {
		change(request)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

func TestVerifiedDeliveryIsShownAndAnsweredInTurn(t *testing.T) {
	w := start(t, func(w *world, o *listener.Options) {
		o.Statuses = []int{503, 200}
		o.Keys = func(context.Context) ([]signature.Verifier, error) { return []signature.Verifier{w.verifier(t)}, nil }
	})
	client := w.client(t, w.ca)
	for i, want := range []int{503, 200, 200} {
		status, err := w.post(t, client, nil)
		require.NoError(t, err)
		assert.Equal(t, want, status)
		d := <-w.shown
		assert.Equal(t, i+1, d.Count)
		assert.Equal(t, want, d.Status)
		assert.Equal(t, listener.Verified, d.Signature, d.Reason)
		assert.Equal(t, "v1="+w.key.ID, d.Key)
		assert.Equal(t, "msg_1", d.ID)
		assert.Equal(t, "com.acme.order.created", d.Type)
		assert.Equal(t, "spiffe://handfast.test/dispatcher", d.Client)
		assert.JSONEq(t, body, string(d.Data))
	}
}

func TestBadSignatureIsRefusedWhateverWasAsked(t *testing.T) {
	w := start(t, func(w *world, o *listener.Options) {
		o.Keys = func(context.Context) ([]signature.Verifier, error) { return []signature.Verifier{w.verifier(t)}, nil }
	})
	status, err := w.post(t, w.client(t, w.ca), func(r *http.Request) {
		r.Body = http.NoBody
		r.ContentLength = 0
	})
	require.NoError(t, err)
	assert.Equal(t, http.StatusUnauthorized, status)
	d := <-w.shown
	assert.Equal(t, listener.Unverified, d.Signature)
	assert.Contains(t, d.Reason, "body was changed")
}

// A person starts to listen before there is an endpoint: keys that come later must be found.
func TestKeysThatComeLater(t *testing.T) {
	ready := make(chan struct{})
	w := start(t, func(w *world, o *listener.Options) {
		o.Keys = func(context.Context) ([]signature.Verifier, error) {
			select {
			case <-ready:
				return []signature.Verifier{w.verifier(t)}, nil
			default:
				return nil, errors.New("there is no endpoint acme/orders")
			}
		}
	})
	client := w.client(t, w.ca)
	status, err := w.post(t, client, nil)
	require.NoError(t, err)
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Contains(t, (<-w.shown).Reason, "there is no endpoint acme/orders")
	close(ready)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		status, err := w.post(t, client, nil)
		assert.NoError(c, err)
		assert.Equal(c, http.StatusOK, status)
		<-w.shown
	}, 5*time.Second, 200*time.Millisecond)
}

func TestUncheckedSaysSo(t *testing.T) {
	w := start(t, nil)
	status, err := w.post(t, w.client(t, w.ca), func(r *http.Request) { r.Header.Del("webhook-signature") })
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, status)
	d := <-w.shown
	assert.Equal(t, listener.Unchecked, d.Signature)
	assert.Contains(t, d.Reason, "--endpoint")
}

func TestDelay(t *testing.T) {
	w := start(t, func(_ *world, o *listener.Options) { o.Delay = 50 * time.Millisecond })
	_, err := w.post(t, w.client(t, w.ca), nil)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, (<-w.shown).Took, 50*time.Millisecond)
}

func TestDocumentCanBeApplied(t *testing.T) {
	w := start(t, nil)
	e, err := endpoint.Parse([]byte(w.open.Document("acme", "orders")))
	require.NoError(t, err)
	assert.Equal(t, "https://"+w.open.Address()+"/", e.URL.String())
	require.Len(t, e.TLS.Trust.Roots, 1)
	assert.True(t, bytes.Equal(w.ca.Certificate().Raw, e.TLS.Trust.Roots[0].Raw))
}

func TestOpenTellsEverything(t *testing.T) {
	_, err := listener.Open(t.Context(), listener.Options{Address: "nowhere", Dir: "absent", Statuses: []int{100, 42}, Clients: []string{""}})
	require.Error(t, err)
	for _, words := range []string{"status 100", "status 42", "an empty name", `"nowhere" is not HOST:PORT`, "start `handfast dev` first"} {
		assert.Contains(t, err.Error(), words)
	}
	w := start(t, nil)
	text, err := w.ca.Marshal()
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "authority.pem"), text, 0o600))
	_, err = listener.Open(t.Context(), listener.Options{Address: w.open.Address(), Dir: dir})
	require.ErrorContains(t, err, "choose another with --address")
}

func TestTheEndWaitsForNobodyWhoIsSilent(t *testing.T) {
	w := start(t, nil)
	config := w.client(t, w.ca).Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = []string{"http/1.1"}
	silent, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", w.open.Address())
	require.NoError(t, err)
	defer silent.Close()
	assert.Empty(t, (<-w.shook).Refusal)
	_, err = w.post(t, w.client(t, w.ca), nil) // and one whose answer has been given
	require.NoError(t, err)
	began := time.Now()
	require.NoError(t, w.stop())
	assert.Less(t, time.Since(began), time.Second)
}

func TestWhoIsBeingAnsweredHearsOfTheEnd(t *testing.T) {
	asked := make(chan struct{}, 8)
	w := start(t, func(w *world, o *listener.Options) {
		o.Delay = 100 * time.Millisecond
		o.Keys = func(context.Context) ([]signature.Verifier, error) {
			asked <- struct{}{}
			return []signature.Verifier{w.verifier(t)}, nil
		}
	})
	stopped := make(chan error, 1)
	go func() {
		<-asked
		stopped <- w.stop()
	}()
	status, err := w.post(t, w.client(t, w.ca), nil)
	require.NoError(t, err)
	assert.Equal(t, http.StatusServiceUnavailable, status)
	require.NoError(t, <-stopped)
}
