package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/stream/embedded"
)

// slow is a receiver that answers when it is told to.
type slow struct {
	host    string
	came    atomic.Int32
	arrived chan struct{}
	release chan struct{}
}

func (s *slow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions { // the request without a message that comes first on HTTP/2
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	s.came.Add(1)
	s.arrived <- struct{}{}
	<-s.release
	w.WriteHeader(http.StatusNoContent)
}

func receive(t *testing.T, ca *authority.Authority) *slow {
	t.Helper()
	certificatePEM, keyPEM, err := ca.Server("127.0.0.1")
	require.NoError(t, err)
	certificate, err := tls.X509KeyPair(certificatePEM, keyPEM)
	require.NoError(t, err)
	clients := x509.NewCertPool()
	clients.AddCert(ca.Certificate())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &slow{host: listener.Addr().String(), arrived: make(chan struct{}, 16), release: make(chan struct{})}
	server := &http.Server{
		Handler: s, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12},
	}
	go server.ServeTLS(listener, "", "")
	t.Cleanup(func() { server.Close() })
	return s
}

// TestStoppingLeavesNoDeliveryBehind stops the dispatcher while one attempt is under way and another delivery waits behind
// it: the first one's answer is waited for and recorded, the second goes back and is delivered by the next dispatcher.
func TestStoppingLeavesNoDeliveryBehind(t *testing.T) {
	dir := t.TempDir()
	ca, err := authority.New("test")
	require.NoError(t, err)
	certificate, key, err := ca.Client("spiffe://test/dispatcher")
	require.NoError(t, err)
	identity := filepath.Join(dir, "identity.pem")
	require.NoError(t, os.WriteFile(identity, append(certificate, key...), 0o600))
	t.Setenv("HANDFAST_MASTER_KEY", strings.Repeat("ab", 32))
	broker, err := embedded.Start(embedded.Options{Dir: filepath.Join(dir, "nats"), Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	t.Cleanup(broker.Stop)
	nc, err := nats.Connect("", broker.Option())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	topology := stream.Topology{Partitions: 1}
	require.NoError(t, topology.Apply(t.Context(), js))
	receiver := receive(t, ca)
	document := "tenant: acme\nname: orders\nurl: https://" + receiver.host + "/in\nlimits:\n  concurrency: 1\ntls:\n  trust:\n    roots: |\n      " +
		strings.ReplaceAll(strings.TrimSpace(string(ca.CertificatePEM())), "\n", "\n      ") + "\n"
	e, err := endpoint.Parse([]byte(document))
	require.NoError(t, err)
	kv, err := js.KeyValue(t.Context(), stream.EndpointBucket)
	require.NoError(t, err)
	stored, err := e.MarshalJSON()
	require.NoError(t, err)
	_, err = kv.Put(t.Context(), stream.EndpointKey(e.Key(), 1), stored)
	require.NoError(t, err)

	start := func(id string) *running {
		return begin(t, "dispatcher", "--server", broker.URL(), "--http=", "--id", id, "--identity", "default="+identity, "--allow", "127.0.0.0/8")
	}
	signer, first := begin(t, "signer", "--server", broker.URL(), "--http="), start("first")
	for _, id := range []string{"1", "2"} {
		_, err := js.PublishMsg(t.Context(), &nats.Msg{
			Subject: "events.acme.com.acme.order", Data: []byte("{}"),
			Header: nats.Header{"ce-specversion": {"1.0"}, "ce-id": {id}, "ce-source": {"/shop"}, "ce-type": {"com.acme.order"}, "ce-datacontenttype": {"application/json"}},
		})
		require.NoError(t, err)
	}
	<-receiver.arrived
	first.cancel()
	until(t, func() bool { return strings.Contains(first.err.String(), "asked to stop") }, "hears the signal")
	close(receiver.release)
	assert.Equal(t, 0, first.end())
	messages := func(name string) uint64 {
		s, err := js.Stream(t.Context(), name)
		require.NoError(t, err)
		return s.CachedInfo().State.Msgs
	}
	assert.Equal(t, int32(1), receiver.came.Load(), "what had not begun was not begun")
	assert.Equal(t, uint64(1), messages(stream.Receipts), "the attempt under way was recorded")
	assert.Equal(t, uint64(1), messages(stream.Deliveries)+messages(stream.Retries), "the other one was given back")

	second := start("second")
	until(t, func() bool { return messages(stream.Receipts) == 2 }, "the next dispatcher delivers it")
	assert.Equal(t, 0, second.end())
	assert.Equal(t, 0, signer.end())
	assert.Equal(t, int32(2), receiver.came.Load(), "each was sent once")
	assert.Zero(t, messages(stream.Deliveries)+messages(stream.Retries))
}
