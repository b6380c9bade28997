package receiver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

// FuzzTerminator reads what a proxy may tell, in each form. It never panics, and what it returns is bounded.
func FuzzTerminator(f *testing.F) {
	for _, value := range []string{
		"", ":", "::", ":AAAA:", "-----BEGIN CERTIFICATE-----%0AAAAA%0A-----END CERTIFICATE-----%0A", `Cert="%2"`, `By=a;Hash=b;Subject="CN=\"x\"";URI=c`,
		`Cert="a";Cert="b"`, `a=b,c=d`, `="`, `a="\`, strings.Repeat(":AAAA:,", 20),
	} {
		f.Add(value, value)
	}
	f.Fuzz(func(t *testing.T, value, chain string) {
		for form := RFC9440; form <= EscapedPEM; form++ {
			certs, err := (&terminator{Terminator: Terminator{Form: form}}).parse(value, chain)
			assert.Equal(t, err == nil, len(certs) > 0)
			assert.LessOrEqual(t, len(certs), maxChain)
			if err != nil && len(value) > 40 {
				assert.NotContains(t, err.Error(), value)
			}
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(record{Phase: done, Digest: "x", Signed: 1, Fresh: 2, Until: 3}.encode())
	f.Add([]byte(`{"p":1}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		r, err := decodeRecord(value)
		if err != nil || value == nil {
			assert.Equal(t, absent, r.Phase)
			return
		}
		again, err := decodeRecord(r.encode())
		if len(r.encode()) <= maxRecord {
			require.NoError(t, err)
			assert.Equal(t, r, again)
		}
	})
}

// FuzzRequest throws headers and bodies at a receiver whose client is known. Nothing that we did not sign gets through.
func FuzzRequest(f *testing.F) {
	key, err := signature.ParseSecret(signature.V1, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(f, err)
	verifier, err := key.Verifier()
	require.NoError(f, err)
	now := time.Unix(1614265330, 0)
	const id, stamp, value, body = "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", `{"test": 2432232314}`
	f.Add("POST", "webhook-id", id, stamp, value, body)
	f.Add("POST", "Webhook_Id", id, stamp, value, body)
	f.Add("POST", "content-encoding", "gzip", stamp, value, body)
	f.Add("GET", "client-cert", id, stamp, "v1,"+value, body+" ")
	f.Fuzz(func(t *testing.T, method, name, id2, stamp2, value2, body2 string) {
		calls := 0
		guard, err := Options{Clients: []string{"a.example"}, Keys: []signature.Verifier{verifier}, Now: func() time.Time { return now }}.guard()
		require.NoError(t, err)
		req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body2)).WithContext(context.Background())
		req.Method = method
		req.Header = http.Header{"Webhook-Id": {id2}, "Webhook-Timestamp": {stamp2}, "Webhook-Signature": {value2}}
		req.Header[name] = append(req.Header[name], id2)
		leaf := &x509.Certificate{DNSNames: []string{"a.example"}, NotBefore: now, NotAfter: now}
		req.TLS = stateOf(leaf)
		recorder := httptest.NewRecorder()
		guard.serve(recorder, req, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls++ }))
		signed := id2 == id && stamp2 == stamp && strings.Contains(value2, value) && body2 == body
		if !signed {
			assert.Zero(t, calls)
			assert.True(t, recorder.Code >= 400 || method == http.MethodOptions, recorder.Code)
		}
	})
}

func stateOf(leaf *x509.Certificate) *tls.ConnectionState {
	return &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf}}}
}
