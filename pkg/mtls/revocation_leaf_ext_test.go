package mtls_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
)

// TestARevokedLeafHasNoWayOut: its issuer has two certificates and so there are two chains, of which one learns that the
// leaf was withdrawn, and the other one nothing. The key that signed it is the same: it is withdrawn.
func TestARevokedLeafHasNoWayOut(t *testing.T) {
	host := newCRLHost(t)
	one, two, middle, second := crossSigned(t, host)
	host.list("/one.crl", one.crl(nil))
	host.list("/two.crl", two.crl(nil))
	var mu sync.Mutex
	asked := 0
	var list []byte
	source := host.page("/leaf.crl", func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		if asked > 1 { // each chain asks for itself, because lists are kept apart by issuer
			http.Error(w, "later", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(list)
	})
	certificate := middle.server(nil, source)
	list = middle.crl(nil, certificate.Leaf)
	certificate.Certificate = append(certificate.Certificate, second.Raw)
	trust := newTestTrust(t, []*x509.Certificate{one.certificate, two.certificate})
	cs, err := shake(t, clientConfig(trust, receiverName), &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	require.NoError(t, err)
	chains, err := trust.Chains(cs, receiverName, time.Now())
	require.NoError(t, err)
	require.Len(t, chains, 2)
	finding, err := mtls.NewRevocation((&net.Dialer{}).DialContext).Check(soon(t), chains, nil, mtls.RevocationSoft)
	require.Error(t, err, "whoever accepts what nothing is known of must not accept this")
	assert.Equal(t, mtls.Revoked, finding.Status, "%s", finding)
	assert.Equal(t, 2, asked)
}
