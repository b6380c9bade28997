package receiver_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/receiver"
	"github.com/handfast/handfast/pkg/signature"
)

// told is how each kind of proxy tells a chain.
func told(form receiver.Form, chain ...[]byte) map[string]string {
	sequences, pems := make([]string, 0, len(chain)), make([]byte, 0, 1<<10)
	for _, der := range chain {
		sequences = append(sequences, ":"+base64.StdEncoding.EncodeToString(der)+":")
		pems = append(pems, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	texts := string(pems)
	amazon := strings.NewReplacer("%2B", "+", "%3D", "=", "%2F", "/").Replace(url.PathEscape(texts))
	switch form {
	case receiver.RFC9440:
		fields := map[string]string{"Client-Cert": sequences[0]}
		if len(chain) > 1 {
			fields["Client-Cert-Chain"] = strings.Join(sequences[1:], ", ")
		}
		return fields
	case receiver.AmazonALB:
		return map[string]string{"X-Amzn-Mtls-Clientcert": amazon}
	case receiver.AmazonALBLeaf:
		return map[string]string{"X-Amzn-Mtls-Clientcert-Leaf": amazon, "X-Amzn-Mtls-Clientcert-Subject": "CN=anything"}
	case receiver.Envoy:
		return map[string]string{"X-Forwarded-Client-Cert": `By=spiffe://mesh/app;Hash=00ff;Subject="CN=a \"b\", O=x;y";URI=spiffe://a;URI=spiffe://b;Chain="` + escape(texts) + `"`}
	case receiver.EscapedPEM:
		return map[string]string{"Ssl-Client-Cert": url.PathEscape(texts)}
	}
	return nil
}

func forms() map[string]receiver.Form {
	return map[string]receiver.Form{
		"RFC 9440": receiver.RFC9440, "Amazon": receiver.AmazonALB, "Amazon's leaf": receiver.AmazonALBLeaf,
		"Envoy": receiver.Envoy, "nginx": receiver.EscapedPEM,
	}
}

// behind is a receiver behind a proxy on 192.0.2.0/24, from where httptest's requests come.
func behind(t *testing.T, ca *authority, change func(*receiver.Terminator)) *direct {
	t.Helper()
	return newDirect(t, func(o *receiver.Options) {
		o.Terminator = &receiver.Terminator{Form: receiver.RFC9440, Hops: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Roots: ca.pool}
		change(o.Terminator)
	})
}

// ask sends a good delivery with these fields, over plain HTTP.
func (d *direct) ask(fields map[string]string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	req := d.request("a", time.Now(), "{}")
	req.TLS = nil
	for name, value := range fields {
		req.Header[name] = []string{value}
	}
	for _, c := range change {
		c(req)
	}
	return d.send(req)
}

func TestTerminatorsTellTheClient(t *testing.T) {
	ca := mustAuthority(t)
	for name, form := range forms() {
		t.Run(name, func(t *testing.T) {
			d := behind(t, ca, func(p *receiver.Terminator) { p.Form = form })
			good := ca.der(t, sender)
			d.answer = func(_ http.ResponseWriter, r *http.Request) {
				delivery, _ := receiver.FromContext(r.Context())
				assert.Equal(t, sender, delivery.ClientSAN)
			}
			reply := d.ask(told(form, good, ca.cert.Raw))
			require.Equal(t, http.StatusOK, reply.Code, reply.Body)
			require.Equal(t, 1, d.calls)

			stranger := mustAuthority(t)
			for what, fields := range map[string]map[string]string{
				"nothing":                   {},
				"another name":              told(form, ca.der(t, "evil.example")),
				"a certificate for nobody":  told(form, stranger.der(t, sender)),
				"a stranger's whole chain":  told(form, stranger.der(t, sender), stranger.cert.Raw),
				"no certificate":            told(form, []byte("x")),
				"eleven certificates":       told(form, good, good, good, good, good, good, good, good, good, good, good),
				"another form's header too": merge(told(form, good), map[string]string{"X-Client-Cert": "x"}),
				"its header with '_'":       merge(told(form, good), map[string]string{"Client_cert": "x"}),
			} {
				reply := d.ask(fields)
				assert.Equal(t, receiver.StatusClient, reply.Code, what)
			}
			for field, value := range told(form, good) {
				if field == "X-Amzn-Mtls-Clientcert-Subject" {
					continue
				}
				reply := d.ask(told(form, good), func(r *http.Request) { r.Header[field] = []string{value, value} })
				assert.Equal(t, receiver.StatusClient, reply.Code, "doubled")
				reply = d.ask(told(form, good), func(r *http.Request) { r.RemoteAddr = "198.51.100.1:1" })
				assert.Equal(t, receiver.StatusClient, reply.Code, "past the proxy")
				assert.Contains(t, reply.Body.String(), "did not come from the proxy")
				reply = d.ask(map[string]string{strings.ReplaceAll(field, "-", "_"): value})
				assert.Equal(t, receiver.StatusClient, reply.Code, "only with '_'")
				reply = d.ask(map[string]string{field: value[:len(value)/2]})
				assert.Equal(t, receiver.StatusClient, reply.Code, "cut")
			}
			assert.Equal(t, 1, d.calls)
		})
	}
}

func TestTerminatorVerifiesNow(t *testing.T) {
	ca := mustAuthority(t)
	now := time.Now()
	d := newDirect(t, func(o *receiver.Options) {
		o.Now = func() time.Time { return now }
		o.Terminator = &receiver.Terminator{Form: receiver.RFC9440, Hops: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}, Roots: ca.pool}
	})
	fields := told(receiver.RFC9440, ca.der(t, sender))
	now = now.Add(2 * time.Hour)
	reply := d.ask(fields)
	assert.Equal(t, receiver.StatusClient, reply.Code)
	assert.Contains(t, reply.Body.String(), "not valid at this time")
}

// TestTerminatorWantsClientCertificates: a certificate for servers proves no client, whatever the proxy let pass.
func TestTerminatorWantsClientCertificates(t *testing.T) {
	ca := mustAuthority(t)
	d := behind(t, ca, func(*receiver.Terminator) {})
	ca.usage = x509.ExtKeyUsageServerAuth
	assert.Equal(t, receiver.StatusClient, d.ask(told(receiver.RFC9440, ca.der(t, sender))).Code)
	ca.usage = x509.ExtKeyUsageClientAuth
	assert.Equal(t, http.StatusOK, d.ask(told(receiver.RFC9440, ca.der(t, sender))).Code)
}

func TestTerminatorWithAFieldOfItsOwn(t *testing.T) {
	ca := mustAuthority(t)
	d := behind(t, ca, func(p *receiver.Terminator) { p.Form, p.Field = receiver.EscapedPEM, "x-MY-cert" })
	good := told(receiver.EscapedPEM, ca.der(t, sender))["Ssl-Client-Cert"]
	assert.Equal(t, receiver.StatusClient, d.ask(map[string]string{"Ssl-Client-Cert": good}).Code, "not this one")
	assert.Equal(t, receiver.StatusClient, d.ask(map[string]string{"X-My-Cert": good, "X_my_cert": good}).Code)
	assert.Zero(t, d.calls)
	assert.Equal(t, http.StatusOK, d.ask(map[string]string{"X-My-Cert": good}).Code)
}

// TestTerminatorByCertificate has a proxy that proves itself by a certificate of its own.
func TestTerminatorByCertificate(t *testing.T) {
	ca := mustAuthority(t)
	d := behind(t, ca, func(p *receiver.Terminator) { p.Hops, p.Names = nil, []string{"proxy.example"} })
	by := func(name string) func(*http.Request) {
		leaf, err := x509.ParseCertificate(ca.der(t, name))
		require.NoError(t, err)
		return func(r *http.Request) { r.TLS = verifiedState(leaf) }
	}
	fields := told(receiver.RFC9440, ca.der(t, sender))
	assert.Equal(t, receiver.StatusClient, d.ask(fields).Code, "no certificate of the proxy")
	assert.Equal(t, receiver.StatusClient, d.ask(fields, by(sender)).Code, "the sender is not the proxy")
	assert.Equal(t, receiver.StatusClient, d.ask(fields, by("proxy.example"), func(r *http.Request) { r.TLS.VerifiedChains = nil }).Code, "unverified")
	assert.Equal(t, receiver.StatusClient, d.ask(nil, by(sender)).Code, "the sender itself has to go through the proxy")
	assert.Zero(t, d.calls)
	assert.Equal(t, http.StatusOK, d.ask(fields, by("proxy.example")).Code)
}

func TestEnvoyForms(t *testing.T) {
	ca := mustAuthority(t)
	good := escape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.der(t, sender)})))
	d := behind(t, ca, func(p *receiver.Terminator) { p.Form = receiver.Envoy })
	for value, status := range map[string]int{
		`Cert="` + good + `"`:                               200,
		`Hash=1;Cert="` + good + `";Subject="";DNS=a;DNS=b`: 200,
		`Hash=1;URI=` + senderURI:                           495, // words about a certificate are no certificate
		`Cert="` + good + `",Cert="` + good + `"`:           495, // two elements
		`URI=x,Cert="` + good + `"`:                         495,
		`Cert="` + good + `";Cert="` + good + `"`:           495,
		`Cert="` + good:                                     495,
		`Cert="` + good + `\`:                               495,
		`Cert="` + good + `"x`:                              495,
		`Cert=` + good + `"`:                                495,
		`=x`:                                                495,
		`x`:                                                 495,
	} {
		reply := d.ask(nil, func(r *http.Request) {
			r.Header = d.request("msg_"+rand.Text(), time.Now(), "{}").Header
			r.Header.Set("X-Forwarded-Client-Cert", value)
		})
		assert.Equal(t, status, reply.Code, value)
	}
	assert.Equal(t, 2, d.calls)
}

func TestTerminatorOptions(t *testing.T) {
	_, verifier, err := newKey(signature.V1)
	require.NoError(t, err)
	check := func(p receiver.Terminator) error {
		_, err := receiver.New(receiver.Options{Clients: []string{sender}, Keys: []signature.Verifier{verifier}, Terminator: &p})
		return err
	}
	err = check(receiver.Terminator{Field: "a b"})
	for _, words := range []string{"Form is missing", "Field is only for", "Hops and Names are empty", "Roots is missing"} {
		require.ErrorContains(t, err, words)
	}
	err = check(receiver.Terminator{
		Form: receiver.EscapedPEM, Field: "X-My-Cert", Roots: x509.NewCertPool(),
		Hops: []netip.Prefix{{}, netip.MustParsePrefix("0.0.0.0/0")}, Names: []string{"*.example"},
	})
	for _, words := range []string{"Hops[0]", "Hops[1]", "wildcards"} {
		require.ErrorContains(t, err, words)
	}
	require.NotContains(t, err.Error(), "Field")
}

// escape is how Envoy does it: everything but letters, digits and a few marks.
func escape(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

func merge(all ...map[string]string) map[string]string {
	one := map[string]string{}
	for _, m := range all {
		maps.Copy(one, m)
	}
	return one
}

func mustAuthority(t *testing.T) *authority {
	t.Helper()
	ca, err := newAuthority()
	require.NoError(t, err)
	return ca
}

func (a *authority) der(t *testing.T, names ...string) []byte {
	t.Helper()
	cert, err := a.issue("x", names...)
	require.NoError(t, err)
	return cert.Certificate[0]
}
