package receiver

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/PagerDuty/go-pagerduty/webhookv3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/tests/kit"
)

// documented is how PagerDuty has its customers look at the certificate: the chain by its root, and the subject by a search.
// The search has no anchors and its dots match anything, which is theirs to say and ours to know. anchored is what it should
// have been.
const (
	documented = `if ($ssl_client_s_dn !~ "CN=webhooks.pagerduty.com") { return 403; }`
	anchored   = `if ($ssl_client_s_dn !~ "^CN=webhooks\.pagerduty\.com$") { return 403; }`
)

const pagerDutyServer = `
    listen LISTEN ssl;
    server_name receiver.test;
    ssl_certificate DIR/server.pem;
    ssl_certificate_key DIR/server.key;
    ssl_protocols TLSv1.2;
    ssl_client_certificate DIR/root.pem;
    ssl_verify_client on;
    ssl_verify_depth 2;
    location / {
      CHECK
      proxy_pass http://APP;
    }
`

// customer is an application of a customer of PagerDuty, with PagerDuty's own library. It judges each message once for each
// secret that it was told, so that one who knows only the old, only the new or both of them stands here at once.
type customer struct {
	mu      sync.Mutex
	secrets []string
	seen    []http.Header
	// judged tells for each message which secrets it was signed with.
	judged [][]bool
}

func (c *customer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // all of it, as an application does that answers nginx in order
	r.Body = io.NopCloser(bytes.NewReader(body))
	c.mu.Lock()
	defer c.mu.Unlock()
	verdicts := make([]bool, len(c.secrets))
	refused := webhookv3.ErrNoValidSignatures
	for i, secret := range c.secrets {
		err := webhookv3.VerifySignature(r, secret) // it puts the body back
		verdicts[i] = err == nil
		if !errors.Is(err, webhookv3.ErrNoValidSignatures) {
			refused = err
		}
	}
	c.seen, c.judged = append(c.seen, r.Header.Clone()), append(c.judged, verdicts)
	switch {
	case errors.Is(refused, webhookv3.ErrMalformedBody) || errors.Is(refused, webhookv3.ErrMalformedHeader):
		w.WriteHeader(http.StatusBadRequest)
	case !slices.Contains(verdicts, true):
		w.WriteHeader(http.StatusForbidden)
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}

func (c *customer) knows(secrets ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.secrets = secrets
}

// last is the number of messages so far, and the header and the verdicts of the last one.
func (c *customer) last() (n int, header http.Header, verdicts []bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n = len(c.seen); n == 0 {
		return 0, nil, nil
	}
	return n, c.seen[n-1], c.judged[n-1]
}

// pagerDuty is a whole Handfast in real time that delivers as PagerDuty does, to nginx as PagerDuty documents it: an
// intermediate authority, and a root that the receiver trusts.
type pagerDuty struct {
	*kit.World

	issuing *authority.Authority
	app     *customer
	address string
}

func newPagerDuty(t *testing.T, check string) *pagerDuty {
	t.Helper()
	p := &pagerDuty{World: kit.New(t), app: &customer{}}
	var err error
	p.issuing, err = p.ClientCA.Intermediate("Handfast test authority, issuing")
	require.NoError(t, err)
	dir := t.TempDir()
	chain, key, err := p.ServerCA.Server(receiverName)
	require.NoError(t, err)
	for name, text := range map[string][]byte{"server.pem": chain, "server.key": key, "root.pem": p.ClientCA.CertificatePEM()} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	behind := httptest.NewServer(p.app)
	t.Cleanup(behind.Close)
	p.address = freeAddress(t)
	server := strings.NewReplacer("CHECK", check, "LISTEN", p.address, "APP", behind.Listener.Addr().String(), "DIR", dir).Replace(pagerDutyServer)
	whole, rest, ok := strings.Cut(strings.ReplaceAll(nginxConfiguration, "TEMP", t.TempDir()), "  server {")
	require.True(t, ok)
	require.Contains(t, rest, "proxy_pass")
	launch(t, dir, false, []string{p.address}, "nginx", "-e", "stderr", "-c", written(t, "nginx.conf", whole+"  server {"+server+"  }\n}\n"))
	return p
}

// named is an identity of the issuing authority, or of the one given, with this common name.
func (p *pagerDuty) named(ca *authority.Authority, commonName string) *mtls.Identity {
	return p.MintUnder(ca, authority.Leaf{CommonName: commonName, URIs: kit.URIs(identityURI), Client: true})
}

// start lets the pipeline deliver to nginx under the right name.
func (p *pagerDuty) start(key endpoint.Key) {
	p.T.Helper()
	p.Identity = mtls.Static(p.named(p.issuing, "webhooks.pagerduty.com"))
	p.Signer.FetchWait, p.Dispatcher.FetchWait = 0, 0 // the defaults: this is real time
	p.Dispatcher.Connections.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, p.address)
	}
	p.Apply(p.Document(receiverName, key.Tenant, key.Name, func(document map[string]any) {
		document["signature"] = map[string]any{"schemes": []string{signature.PagerDuty}}
	}))
	p.Start()
}

// deliver publishes one event and waits until the application has seen it.
func (p *pagerDuty) deliver() (header http.Header, verdicts []bool) {
	p.T.Helper()
	before, _, _ := p.app.last()
	p.Publish("acme", "incident.triggered", `{"incident":{"title":"Zoë's disk is full"}}`)
	require.Eventually(p.T, func() bool {
		var n int
		n, header, verdicts = p.app.last()
		return n > before
	}, 20*time.Second, 5*time.Millisecond)
	return header, verdicts
}

// TestPagerDutyReceiver rotates a secret while messages go through real nginx to PagerDuty's own library.
func TestPagerDutyReceiver(t *testing.T) {
	enabled(t)
	installed(t, nginx())
	p := newPagerDuty(t, documented)
	key := endpoint.Key{Tenant: "acme", Name: "incidents"}
	o := operator.New(p.JS, p.Topology)
	const older, newer, never = "the secret that the customer of PagerDuty has had for a year, 64", "the one that PagerDuty gives it now", "a secret of somebody else"
	first, err := o.ImportKey(t.Context(), key, signature.PagerDuty, older, true, p.Vault)
	require.NoError(t, err)
	p.app.knows(older, newer, never)
	p.start(key)

	ids := map[string]bool{}
	run := func(want ...bool) {
		t.Helper()
		count := 0
		for _, signs := range want {
			if signs {
				count++
			}
		}
		for range 5 {
			header, verdicts := p.deliver()
			assert.Equal(t, want, verdicts)
			assert.Equal(t, count, strings.Count(header.Get("X-PagerDuty-Signature"), "v1="))
			assert.Len(t, header["X-Pagerduty-Signature"], 1)
			ids[header.Get("X-Webhook-Id")] = true
		}
	}
	// A change is with every signer within a second; what is on its way may still have the state before it.
	settled := func(want ...bool) {
		t.Helper()
		require.Eventually(t, func() bool { _, verdicts := p.deliver(); return slices.Equal(want, verdicts) }, 5*time.Second, time.Millisecond)
	}
	run(true, false, false)
	_, err = o.ImportKey(t.Context(), key, signature.PagerDuty, newer, false, p.Vault)
	require.NoError(t, err)
	run(true, false, false)
	_, err = o.RotateKey(t.Context(), key, operator.KeyRotation{Scheme: signature.PagerDuty, Overlap: time.Hour}, p.Vault)
	require.NoError(t, err)
	settled(true, true, false)
	run(true, true, false)
	_, err = o.RevokeKey(t.Context(), key, first.Key.ID, p.Vault)
	require.NoError(t, err)
	settled(false, true, false)
	run(false, true, false)
	assert.Len(t, ids, 20, "each message has an id of its own")
	seen, _, _ := p.app.last()
	assert.Eventually(t, func() bool { return len(p.Outcomes()) == seen }, 10*time.Second, 10*time.Millisecond)
	for _, r := range p.Receipts() {
		assert.Equal(t, delivery.Delivered, r.Outcome, "none was refused at any time: %+v", r)
		assert.Equal(t, http.StatusAccepted, r.Status)
		assert.Equal(t, "TLS 1.2", r.Proof.Version)
	}
}

// TestPagerDutyReceiverAtTheDoor tries other certificates. The documented search lets any certificate of the same root
// through whose subject has something like the name in it, so that the signature is all that is left; with anchors it does
// not.
func TestPagerDutyReceiverAtTheDoor(t *testing.T) {
	enabled(t)
	installed(t, nginx())
	for check, lookalike := range map[string]int{documented: http.StatusBadRequest, anchored: http.StatusForbidden} {
		p := newPagerDuty(t, check)
		p.app.knows("the secret that the customer of PagerDuty has had for a year, 64")
		trust, err := mtls.NewTrust([]*x509.Certificate{p.ServerCA.Certificate()}, nil)
		require.NoError(t, err)
		stranger, err := authority.New("A stranger")
		require.NoError(t, err)
		for _, c := range []struct {
			name     string
			identity *mtls.Identity
			status   int // 0: nginx says that the certificate is not accepted
		}{
			{"the right name", p.named(p.issuing, "webhooks.pagerduty.com"), http.StatusBadRequest},
			{"another name", p.named(p.issuing, "webhooks.example.com"), http.StatusForbidden},
			{"a longer name", p.named(p.issuing, "webhooks.pagerduty.com.enemy.example"), lookalike},
			{"a name with another byte for a dot", p.named(p.issuing, "webhooks-pagerduty.com"), lookalike},
			{"the right name of another root", p.named(stranger, "webhooks.pagerduty.com"), 0},
		} {
			t.Run(c.name+", "+check, func(t *testing.T) {
				s := newSender(t)
				defer s.pool.Close()
				before, _, _ := p.app.last()
				response, failure := s.deliver(t, mtls.Target{Authority: p.address, ServerName: receiverName, Identity: mtls.Static(c.identity), Trust: trust})
				after, _, _ := p.app.last()
				assert.Equal(t, c.status == http.StatusBadRequest, after > before, "the library has seen it, and refused it for want of a signature")
				if c.status == 0 {
					require.NotNil(t, failure, "%+v", response)
					assert.Equal(t, mtls.ClientCertificateRefused, failure.Kind)
					return
				}
				require.Nil(t, failure, "%v", failure)
				assert.Equal(t, c.status, response.Status)
			})
		}
	}
}
