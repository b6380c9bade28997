package mtls_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
)

// crlCase is one certificate of a receiver, and what each policy makes of it.
type crlCase struct {
	name        string
	certificate tls.Certificate
	status      mtls.RevocationStatus
	words       string
}

// crlCases is everything that a list can be.
func crlCases(tb testing.TB, root, middle *issuer, host *crlHost) []crlCase {
	tb.Helper()
	imposter := newIssuer(tb, "middle", root)
	stranger := newIssuer(tb, "stranger", nil)
	var cases []crlCase
	add := func(name string, status mtls.RevocationStatus, words string, list func(leaf *x509.Certificate, url string) []byte) {
		path := fmt.Sprintf("/%d.crl", len(cases))
		c := middle.server(nil, host.url+path)
		if list != nil {
			host.list(path, list(c.Leaf, host.url+path))
		}
		cases = append(cases, crlCase{name, c, status, words})
	}
	altered := func(alter func(*x509.RevocationList)) func(*x509.Certificate, string) []byte {
		return func(*x509.Certificate, string) []byte { return middle.crl(alter) }
	}
	expired := func(l *x509.RevocationList) {
		l.ThisUpdate, l.NextUpdate = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
	}
	on := func(n int) func(*x509.RevocationList) { return issuingPoint(tb, tagged(n, []byte{0xff})) }
	add("good", mtls.RevocationGood, "crl", altered(nil))
	add("revoked", mtls.Revoked, "its key was compromised", func(leaf *x509.Certificate, _ string) []byte { return middle.crl(nil, leaf) })
	add("others are revoked", mtls.RevocationGood, "crl", func(*x509.Certificate, string) []byte { return middle.crl(nil, stranger.certificate) })
	add("expired", mtls.RevocationUnknown, "counted until", altered(expired))
	add("revoked by an expired list", mtls.Revoked, "since", func(leaf *x509.Certificate, _ string) []byte { return middle.crl(expired, leaf) })
	add("on hold", mtls.Revoked, "it is on hold", func(leaf *x509.Certificate, _ string) []byte {
		return middle.crl(func(l *x509.RevocationList) { l.RevokedCertificateEntries[0].ReasonCode = 6 }, leaf)
	})
	add("once on hold", mtls.RevocationUnknown, "counted until", func(leaf *x509.Certificate, _ string) []byte {
		return middle.crl(func(l *x509.RevocationList) { expired(l); l.RevokedCertificateEntries[0].ReasonCode = 6 }, leaf)
	})
	add("from the future", mtls.RevocationUnknown, "counts only from", altered(func(l *x509.RevocationList) { l.ThisUpdate = time.Now().Add(time.Hour) }))
	add("signed by a namesake", mtls.RevocationUnknown, "is not signed by", func(*x509.Certificate, string) []byte { return imposter.crl(nil) })
	add("another issuer's", mtls.RevocationUnknown, `is a list of "CN=stranger", not of "CN=middle"`, func(*x509.Certificate, string) []byte { return stranger.crl(nil) })
	add("garbage", mtls.RevocationUnknown, "is not a readable CRL", func(*x509.Certificate, string) []byte { return []byte("<html>") })
	add("empty", mtls.RevocationUnknown, "is not a readable CRL", func(*x509.Certificate, string) []byte { return nil })
	add("absent", mtls.RevocationUnknown, "answered HTTP 404", nil)
	add("delta", mtls.RevocationUnknown, "is a delta CRL", altered(critical([]int{2, 5, 29, 27}, []byte{2, 1, 1})))
	add("unknown extension", mtls.RevocationUnknown, "the critical extension 1.2.3.4", altered(critical([]int{1, 2, 3, 4}, nil)))
	add("its own point", mtls.RevocationGood, "crl", func(_ *x509.Certificate, url string) []byte { return middle.crl(issuingPoint(tb, pointName(tb, url))) })
	add("another point", mtls.RevocationUnknown, "another distribution point", altered(issuingPoint(tb, pointName(tb, host.url+"/other.crl"))))
	add("of no CAs", mtls.RevocationGood, "crl", altered(on(1)))
	add("of CAs only", mtls.RevocationUnknown, "only of CAs", altered(on(2)))
	add("some reasons", mtls.RevocationUnknown, "some of the reasons", altered(on(3)))
	add("indirect", mtls.RevocationUnknown, "indirect", altered(on(4)))
	add("attribute certificates", mtls.RevocationUnknown, "attribute", altered(on(5)))
	add("unreadable scope", mtls.RevocationUnknown, "cannot be read", altered(critical([]int{2, 5, 29, 28}, []byte{1})))
	return append(cases, sourceCases(middle, host)...)
}

// sourceCases is everything that the place of a list can be.
func sourceCases(middle *issuer, host *crlHost) []crlCase {
	good := host.list("/good.crl", middle.crl(nil))
	redirect := host.page("/redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, good, http.StatusFound) })
	huge := host.list("/huge", make([]byte, 10<<20+1))
	endless := host.page("/endless", func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush() // no Content-Length
		_, _ = w.Write(make([]byte, 11<<20))
	})
	cut := host.page("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("x"))
	})
	return []crlCase{
		{"redirect", middle.server(nil, redirect), mtls.RevocationUnknown, "redirect (HTTP 302)"},
		{"too big", middle.server(nil, huge), mtls.RevocationUnknown, "larger than 10 MiB"},
		{"too big without a length", middle.server(nil, endless), mtls.RevocationUnknown, "larger than 10 MiB"},
		{"cut off", middle.server(nil, cut), mtls.RevocationUnknown, "could not be fetched"},
		{"no list", middle.server(nil), mtls.RevocationUnknown, "names no CRL"},
		{"ldap", middle.server(nil, "ldap://h/x"), mtls.RevocationUnknown, "over http only"},
		{"https", middle.server(nil, "https://h/x"), mtls.RevocationUnknown, "over http only"},
		{"password", middle.server(nil, "http://u:p@h/x"), mtls.RevocationUnknown, "no plain http address"},
		{"no host", middle.server(nil, "http:///x"), mtls.RevocationUnknown, "no plain http address"},
		{"forbidden address", middle.server(nil, "http://169.254.169.254/x"), mtls.RevocationUnknown, "hands out credentials"},
		{"the second one answers", middle.server(nil, redirect, "ldap://h/x", good), mtls.RevocationGood, "crl"},
	}
}

// secured runs a receiver that must get no byte when it is refused.
func (p *peers) refused(t *testing.T, pool *mtls.Pool, target mtls.Target, receiver *script) *mtls.Failure {
	t.Helper()
	target.Authority = receiver.address
	_, err := pool.Do(soon(t), target, post(64<<10))
	f := failureOf(t, err)
	assert.Equal(t, mtls.Ours, f.Basis)
	assert.False(t, f.BodySent)
	assert.NotEmpty(t, f.Advice)
	assert.Empty(t, receiver.decrypted())
	require.NotNil(t, f.Proof)
	assert.NotNil(t, f.Proof.Server)
	return f
}

func TestRevocationByCRL(t *testing.T) {
	host := newCRLHost(t)
	root := newIssuer(t, "root", nil)
	middle := newIssuer(t, "middle", root, host.list("/root.crl", root.crl(nil)))
	p := newPeers(t, true)
	byPolicy := func(policy mtls.RevocationPolicy) mtls.Trust {
		return newTestTrust(t, []*x509.Certificate{root.certificate}).WithRevocation(policy)
	}
	pool := p.pool(func(o *mtls.Options) { o.Dial, o.Addresses = nil, loopback(t) })
	for _, tc := range crlCases(t, root, middle, host) {
		for _, proto := range []string{"h2", "http/1.1"} {
			t.Run(tc.name+", "+proto, func(t *testing.T) {
				config := p.serverTLS(func(c *tls.Config) {
					c.Certificates, c.NextProtos = []tls.Certificate{tc.certificate}, []string{proto}
				})
				for _, policy := range []mtls.RevocationPolicy{mtls.RevocationIgnore, mtls.RevocationSoft, mtls.RevocationHard, mtls.RevocationHard + 1} {
					accepted := policy == mtls.RevocationIgnore || tc.status == mtls.RevocationGood ||
						tc.status == mtls.RevocationUnknown && policy == mtls.RevocationSoft
					target := p.target("")
					target.Trust = byPolicy(policy)
					if !accepted {
						f := p.refused(t, pool, target, p.script(config, (*line).drain))
						assert.Contains(t, f.Detail, tc.words)
						assert.Contains(t, f.Proof.Revocation, tc.words)
						kind := mtls.ServerCertificateUntrusted
						if tc.status == mtls.Revoked {
							kind = mtls.ServerCertificateRevoked
						} else {
							assert.Contains(t, f.Detail, "revocation status unknown: ")
							assert.Contains(t, f.Detail, ", policy "+policy.String())
						}
						assert.Equal(t, kind, f.Kind)
						continue
					}
					target.Authority = p.website(config, readAll, proto == "h2").address
					response, err := pool.Do(soon(t), target, post(64<<10))
					require.NoError(t, err, "policy %s", policy)
					switch {
					case policy == mtls.RevocationIgnore:
						assert.Empty(t, response.Proof.Revocation)
					case tc.status == mtls.RevocationGood:
						assert.Equal(t, "good (crl)", response.Proof.Revocation)
						assert.Contains(t, string(response.Proof.JSON()), `"revocation":"good (crl)"`)
					default:
						assert.Contains(t, response.Proof.Revocation, "unknown: ")
						assert.Contains(t, response.Proof.Revocation, tc.words)
					}
				}
			})
		}
	}
}

// TestRevocationOfAnIssuer: every certificate but the root is looked at.
func TestRevocationOfAnIssuer(t *testing.T) {
	host := newCRLHost(t)
	root := newIssuer(t, "root", nil)
	middle := newIssuer(t, "middle", root, host.url+"/root.crl")
	host.list("/root.crl", root.crl(nil, middle.certificate))
	p := newPeers(t, true)
	pool := p.pool(func(o *mtls.Options) { o.Dial, o.Addresses = nil, loopback(t) })
	certificate := middle.server(nil, host.list("/leaf.crl", middle.crl(nil)))
	target := p.target("")
	target.Trust = newTestTrust(t, []*x509.Certificate{root.certificate}).WithRevocation(mtls.RevocationSoft)
	receiver := p.script(p.serverTLS(func(c *tls.Config) { c.Certificates = []tls.Certificate{certificate} }), (*line).drain)
	f := p.refused(t, pool, target, receiver)
	assert.Equal(t, mtls.ServerCertificateRevoked, f.Kind)
	assert.Contains(t, f.Detail, `"CN=middle"`)
	require.ErrorAs(t, f, new(*mtls.RevocationError))

	// The issuer is a root itself now, and nobody may withdraw a root.
	target.Trust = newTestTrust(t, []*x509.Certificate{middle.certificate}).WithRevocation(mtls.RevocationHard)
	target.Authority = p.website(p.serverTLS(func(c *tls.Config) { c.Certificates = []tls.Certificate{certificate} }), readAll, true).address
	_, err := pool.Do(soon(t), target, post(10))
	require.NoError(t, err)
}

// TestCRLsAreFetchedUnderTheAddressPolicy: the receiver is reachable, the host of its list is not.
func TestCRLsAreFetchedUnderTheAddressPolicy(t *testing.T) {
	host := newCRLHost(t)
	root := newIssuer(t, "root", nil)
	certificate := root.server(nil, host.list("/a.crl", root.crl(nil)))
	p := newPeers(t, true)
	guard := &net.Dialer{ControlContext: mtls.AddressPolicy{}.Control}
	pool := p.pool(func(o *mtls.Options) {
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if conn, err := p.dial(ctx, network, address); err == nil {
				return conn, nil
			}
			return guard.DialContext(ctx, network, address)
		}
	})
	target := p.target("")
	target.Trust = newTestTrust(t, []*x509.Certificate{root.certificate}).WithRevocation(mtls.RevocationHard)
	receiver := p.script(p.serverTLS(func(c *tls.Config) { c.Certificates = []tls.Certificate{certificate} }), (*line).drain)
	f := p.refused(t, pool, target, receiver)
	assert.Equal(t, mtls.ServerCertificateUntrusted, f.Kind)
	assert.Contains(t, f.Detail, "127.0.0.1 is forbidden")
	assert.Empty(t, host.requests())

	_, err := mtls.NewRevocation(nil).Check(soon(t), [][]*x509.Certificate{{certificate.Leaf, root.certificate}}, nil, mtls.RevocationHard)
	require.ErrorContains(t, err, "127.0.0.1 is forbidden")
	assert.Empty(t, host.requests())
	assert.Equal(t, 0, strings.Index(err.Error(), "revocation status unknown: "))
}
