package receiver_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/receiver"
	"github.com/handfast/handfast/pkg/signature"
)

// signedBy is a receiver of some schemes behind a known client.
type signedBy struct {
	t         *testing.T
	schemes   []string
	ring      signature.Ring
	template  signature.Template
	verifiers []signature.Verifier
	state     *tls.ConnectionState
	handler   http.Handler
	calls     int
	status    int
	last      receiver.Delivery
}

func newSignedBy(t *testing.T, template signature.Template, schemes ...string) *signedBy {
	t.Helper()
	cert, err := mustAuthority(t).issue("x", sender)
	require.NoError(t, err)
	leaf, err := parseLeaf(cert)
	require.NoError(t, err)
	s := &signedBy{t: t, schemes: schemes, template: template, state: verifiedState(leaf), status: http.StatusOK}
	var keys []signature.Key
	for _, scheme := range schemes {
		key, verifier, err := newKey(scheme)
		require.NoError(t, err)
		keys, s.verifiers = append(keys, key), append(s.verifiers, verifier)
	}
	s.ring, err = signature.NewRing(keys...)
	require.NoError(t, err)
	guard, err := receiver.New(receiver.Options{Clients: []string{sender}, Keys: s.verifiers, Template: template})
	require.NoError(t, err)
	s.handler = guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.calls++
		s.last, _ = receiver.FromContext(r.Context())
		w.WriteHeader(s.status)
	}))
	return s
}

// request is one attempt, signed by these of the schemes, or by all.
func (s *signedBy) request(id string, at time.Time, body string, only ...string) *http.Request {
	s.t.Helper()
	if len(only) == 0 {
		only = s.schemes
	}
	signer := signature.Signer{Template: s.template}
	r := signature.Request{
		ID: id, Time: at, Method: http.MethodPost, URL: "https://hooks.example/in?a=b",
		Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(body),
	}
	query, err := signature.Query(r, only)
	require.NoError(s.t, err)
	r.URL = signature.Extend(r.URL, query)
	fields, _, err := signer.Sign(r, only, s.ring)
	require.NoError(s.t, err)
	req := httptest.NewRequest(http.MethodPost, strings.TrimPrefix(r.URL, "https://hooks.example"), strings.NewReader(body))
	req.Host, req.TLS = "hooks.example", s.state
	req.Header.Set("Content-Type", "application/json")
	for _, f := range fields {
		req.Header.Set(f.Name, f.Value)
	}
	return req
}

func (s *signedBy) send(req *http.Request) int {
	recorder := httptest.NewRecorder()
	s.handler.ServeHTTP(recorder, req)
	return recorder.Code
}

// TestEverySchemeAlone: what is accepted, once; and what a later attempt and a replay get.
func TestEverySchemeAlone(t *testing.T) {
	template := signature.Template{Header: "X-Mine", Content: "{id}:{timestamp}:{body}"}
	for _, scheme := range signature.Schemes() {
		t.Run(scheme, func(t *testing.T) {
			own := signature.Template{}
			if scheme == signature.TemplateScheme {
				own = template
			}
			strong := signature.SignsID(scheme) || scheme == signature.TemplateScheme
			timed := strong || signature.SignsTime(scheme)
			s, now := newSignedBy(t, own, scheme), time.Now()
			again := http.StatusNoContent // by whoever signs no time, a replay is no worse than a duplicate
			if timed {
				again = receiver.StatusReplay
			}
			later := http.StatusNoContent
			if timed && !strong {
				later = http.StatusOK // another time makes another delivery
			}
			require.Equal(t, http.StatusOK, s.send(s.request("a", now, "{}")))
			assert.Equal(t, scheme, s.last.Scheme)
			assert.Equal(t, strong, s.last.ID == "a")
			assert.NotEmpty(t, s.last.ID)
			assert.Equal(t, timed, !s.last.Time.IsZero())
			assert.Equal(t, again, s.send(s.request("a", now, "{}")))
			assert.Equal(t, 1, s.calls)
			assert.Equal(t, later, s.send(s.request("a", now.Add(time.Second), "{}")))

			s.calls = 0
			forged := s.request("b", now, "[]")
			forged.Body = http.NoBody
			assert.Equal(t, http.StatusUnauthorized, s.send(forged), "another body")
			bare := s.request("b", now, "[]")
			bare.Header = http.Header{"Content-Type": {"application/json"}, "Webhook-Id": {"b"}}
			assert.Equal(t, http.StatusUnauthorized, s.send(bare), "no signature")
			if timed {
				assert.Equal(t, http.StatusUnauthorized, s.send(s.request("b", now.Add(-6*time.Minute), "[]")))
				assert.Equal(t, http.StatusUnauthorized, s.send(s.request("b", now.Add(6*time.Minute), "[]")))
			}
			stranger := newSignedBy(t, own, scheme)
			assert.Equal(t, http.StatusUnauthorized, s.send(stranger.request("b", now, "[]")))
			assert.Zero(t, s.calls)

			s.status = http.StatusInternalServerError
			require.Equal(t, s.status, s.send(s.request("c", now, "[1]")))
			s.status = http.StatusOK
			assert.Equal(t, http.StatusOK, s.send(s.request("c", now.Add(time.Second), "[1]")), "it had failed")
		})
	}
}

// TestUnsignedIDsDoNotCount: a new id beside a signature that does not cover it makes nothing new.
func TestUnsignedIDsDoNotCount(t *testing.T) {
	for _, scheme := range []string{signature.GitHub, signature.PagerDuty, signature.Stripe} {
		s, now := newSignedBy(t, signature.Template{}, scheme), time.Now()
		require.Equal(t, http.StatusOK, s.send(s.request("a", now, "{}")))
		replay := s.request("a", now, "{}")
		for _, name := range []string{"Webhook-Id", "X-Github-Delivery", "X-Webhook-Id"} {
			replay.Header.Set(name, "new")
		}
		assert.Contains(t, []int{http.StatusNoContent, receiver.StatusReplay}, s.send(replay))
		assert.Equal(t, 1, s.calls)
	}
}

// TestSideBySide has one delivery signed in every way that covers id and time, and each of them alone afterwards.
func TestSideBySide(t *testing.T) {
	strong := []string{signature.V1, signature.V1a, signature.HTTPEd25519, signature.HTTPECDSA, signature.HTTPHMAC}
	s, now := newSignedBy(t, signature.Template{}, strong...), time.Now()
	require.Equal(t, http.StatusOK, s.send(s.request("a", now, "{}")))
	for _, scheme := range strong {
		assert.Equal(t, receiver.StatusReplay, s.send(s.request("a", now, "{}", scheme)), "stripped to %s", scheme)
		assert.Equal(t, http.StatusOK, s.send(s.request("only-"+scheme, now, "{}", scheme)), "one of them is enough")
		assert.Equal(t, scheme, s.last.Scheme)
	}
	assert.Equal(t, 1+len(strong), s.calls)
}

// TestAuthority: behind a proxy that changes the host, the receiver knows what the sender was told.
func TestAuthority(t *testing.T) {
	for authority, want := range map[string]int{"": http.StatusUnauthorized, "hooks.example": http.StatusOK, "other.example": http.StatusUnauthorized} {
		s := newSignedBy(t, signature.Template{}, signature.HTTPEd25519)
		guard, err := receiver.New(receiver.Options{Clients: []string{sender}, Keys: s.verifiers, Authority: authority})
		require.NoError(t, err)
		req := s.request("a", time.Now(), "{}")
		req.Host = "10.0.0.7:8080"
		recorder := httptest.NewRecorder()
		guard(answering(http.StatusOK)).ServeHTTP(recorder, req)
		assert.Equal(t, want, recorder.Code, authority)
	}
}

// TestAProxyThatChangesThePath: a handler around the middleware can tell what the sender was told.
func TestAProxyThatChangesThePath(t *testing.T) {
	s := newSignedBy(t, signature.Template{}, signature.HTTPEd25519)
	guard, err := receiver.New(receiver.Options{Clients: []string{sender}, Keys: s.verifiers})
	require.NoError(t, err)
	guarded := guard(answering(http.StatusOK))
	req := s.request("a", time.Now(), "{}")
	told := req.RequestURI
	req.RequestURI = "/inside" + told
	code := func(h http.Handler) int {
		recorder := httptest.NewRecorder()
		h.ServeHTTP(recorder, req)
		return recorder.Code
	}
	assert.Equal(t, http.StatusUnauthorized, code(guarded))
	req = s.request("b", time.Now(), "{}")
	req.RequestURI = "/inside" + told
	assert.Equal(t, http.StatusOK, code(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RequestURI = told
		guarded.ServeHTTP(w, r)
	})))
}

func TestSchemesOfOneStrength(t *testing.T) {
	check := func(template signature.Template, schemes ...string) error {
		opts := receiver.Options{Clients: []string{sender}, Template: template}
		for _, scheme := range schemes {
			_, verifier, err := newKey(scheme)
			require.NoError(t, err)
			opts.Keys = append(opts.Keys, verifier)
		}
		_, err := receiver.New(opts)
		return err
	}
	mine := signature.Template{Header: "X-Mine", Content: "{timestamp}.{body}"}
	require.NoError(t, check(signature.Template{}, signature.Stripe, signature.Slack))
	require.NoError(t, check(signature.Template{}, signature.GitHub, signature.DocuSign))
	require.NoError(t, check(mine, signature.Stripe, signature.TemplateScheme))
	require.ErrorContains(t, check(signature.Template{}, signature.V1, signature.Stripe), "v1, which signs id, time and body, and scheme stripe, which signs time and body")
	require.ErrorContains(t, check(signature.Template{}, signature.Stripe, signature.GitHub), "github, which signs the body alone")
	require.ErrorContains(t, check(mine, signature.V1, signature.TemplateScheme), "make a receiver for each")
	require.ErrorContains(t, check(signature.Template{}, signature.TemplateScheme), "Template: ")
	require.ErrorContains(t, check(mine, signature.V1), "no key of scheme template")
	require.ErrorContains(t, check(signature.Template{Header: "X-Mine", Content: "{id}{body}"}, signature.V1, signature.TemplateScheme), "signs id and body")
}
