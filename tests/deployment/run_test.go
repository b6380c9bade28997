package deployment

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls/authority"
)

// TestAllContainersRun starts what compose.yaml and the Kubernetes files have, side by side on one NATS server, as the pages
// say: the secrets are made, the streams set up, an identity created, an endpoint applied, an event published. It is
// delivered, the dashboard's metrics are there, and everybody stops within the time that they are given.
func TestAllContainersRun(t *testing.T) {
	dir, all := makeSecrets(t), compose(t)
	spans := new(atomic.Int64)
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/traces" && r.Method == http.MethodPost {
			spans.Add(1)
		}
		w.WriteHeader(http.StatusOK)
	}))
	t.Cleanup(collector.Close)
	at := place{server: serve(t, dir), collector: collector.URL}

	assert.Regexp(t, `\n[1-9]\d* created, 0 changed, 0 unchanged\n$`, all.container(t, dir, "topology").run(t, at, ""))
	topology := workloads(t)["topology"].container(t, secretsOf(t, dir))
	assert.Regexp(t, `^0 created, 0 changed, [1-9]\d* unchanged\n$`, topology.run(t, at, "", "--replicas", "1"), "there is one server here")

	signer := all.container(t, dir, "signer").start(t, at, "")
	dispatcher := all.container(t, dir, "dispatcher").start(t, at, "", "--allow", "127.0.0.0/8")
	others := map[string]*running{}
	for name, o := range objects(t, "Deployment") {
		others[name] = o.container(t, secretsOf(t, dir)).start(t, at, "")
	}
	for name, r := range others {
		o := objects(t, "Deployment")[name]
		probed := o.Spec.Template.Spec.Containers[0]
		r.get(probed.ReadinessProbe.Get.Path)
		r.get(probed.LivenessProbe.Get.Path)
		grace := o.container(t, secretsOf(t, dir)).grace
		assert.Greater(t, grace, r.stop(), "kubernetes/%s is killed before it has finished", name)
	}
	// From here on all goes through those of compose.yaml, whose metrics are looked at.
	signer.get("/readyz")
	dispatcher.get("/readyz")
	deliver(t, all.container(t, dir, "operator"), at, shell(t, "compose/README.md"))
	checkMetrics(t, signer.get("/metrics"), dispatcher.get("/metrics"))

	for name, r := range map[string]*running{"signer": signer, "dispatcher": dispatcher} {
		assert.Greater(t, all.container(t, dir, name).grace, r.stop(), "compose/%s is killed before it has finished", name)
	}
	assert.Positive(t, spans.Load(), "traces arrive where Jaeger listens")
	for _, r := range []*running{signer, dispatcher, others["signer"], others["dispatcher"]} {
		assert.NotContains(t, strings.ToLower(r.out.String()), "permission", r.name)
	}
}

// deliver follows the page from the certificate to the first delivery. The receiver is ours.
func deliver(t *testing.T, operator container, at place, page []string) {
	t.Helper()
	commands := map[string][]string{}
	for line := range strings.Lines(strings.Join(page[1:], "")) {
		words := strings.Fields(line)
		for n, word := range words {
			if word == "operator" {
				rest := words[n+1:]
				commands[strings.Join(rest[:2], " ")] = rest
			}
		}
	}
	require.Contains(t, commands, "identity create")
	require.Contains(t, commands, "endpoint apply")
	require.Contains(t, commands, "event publish")
	operator.run(t, at, "", commands["identity create"]...)
	roots := operator.run(t, at, "", "identity", "ca")
	receiver, document := receive(t, roots)
	assert.Equal(t, []string{"endpoint", "apply", "-f", "-", "<", "orders.yaml"}, commands["endpoint apply"])
	operator.run(t, at, document, commands["endpoint apply"][:4]...)
	publish := commands["event publish"]
	for n, word := range publish {
		publish[n] = strings.Trim(word, "'") // as the shell does
	}
	assert.Contains(t, operator.run(t, at, "", publish...), "delivered (HTTP 204)")
	assert.Equal(t, "spiffe://example.com/handfast", receiver.Load(), "who has called")
}

// receive is a receiver that trusts the roots, and the document of an endpoint that leads to it.
func receive(t *testing.T, roots string) (caller *atomic.Value, document string) {
	t.Helper()
	ca, err := authority.New("Handfast deployment test authority")
	require.NoError(t, err)
	certificatePEM, keyPEM, err := ca.Server("127.0.0.1")
	require.NoError(t, err)
	certificate, err := tls.X509KeyPair(certificatePEM, keyPEM)
	require.NoError(t, err)
	clients := x509.NewCertPool()
	require.True(t, clients.AppendCertsFromPEM([]byte(roots)), roots)
	caller = new(atomic.Value)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		caller.Store(r.TLS.PeerCertificates[0].URIs[0].String())
		w.WriteHeader(http.StatusNoContent)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13}
	server.StartTLS()
	t.Cleanup(server.Close)
	text, err := json.Marshal(map[string]any{
		"tenant": "acme", "name": "orders", "url": server.URL + "/in", "tls": map[string]any{"trust": map[string]any{"roots": string(ca.CertificatePEM())}},
	})
	require.NoError(t, err)
	return caller, string(text)
}

// secretsOf are those of Kubernetes, made of the same files as the page says, by "name/key".
func secretsOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	ca, err := authority.New("Handfast deployment test authority")
	require.NoError(t, err)
	certificate, key, err := ca.Client("spiffe://example.com/handfast")
	require.NoError(t, err)
	secrets := map[string]string{"handfast-identity/tls.crt": string(certificate), "handfast-identity/tls.key": string(key)}
	for line := range strings.Lines(shell(t, "kubernetes/README.md")[0]) {
		words := strings.Fields(line)
		if len(words) < 5 || words[3] != "generic" {
			continue
		}
		for _, word := range words[5:] {
			name, source, from := strings.Cut(strings.TrimPrefix(word, "--from-file="), "=")
			if !from {
				continue // hashes, which NATS alone reads
			}
			content, err := os.ReadFile(filepath.Join(dir, source))
			require.NoError(t, err)
			secrets[words[4]+"/"+name] = string(content)
		}
	}
	return secrets
}
