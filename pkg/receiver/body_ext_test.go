package receiver_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/receiver"
	"github.com/handfast/handfast/pkg/signature"
)

func TestBodyBound(t *testing.T) {
	r := newRig(t, tls.RequireAndVerifyClientCert, func(o *receiver.Options) { o.MaxBody = 10 })
	status, words := r.do(r.client, r.request("0123456789"))
	require.Equal(t, http.StatusAccepted, status, words)
	status, words = r.do(r.client, r.request("0123456789a"))
	assert.Equal(t, http.StatusRequestEntityTooLarge, status)
	assert.Contains(t, words, "larger than 10 bytes")

	chunked := r.request("0123456789a")
	chunked.ContentLength = -1
	status, _ = r.do(r.client, chunked)
	assert.Equal(t, http.StatusRequestEntityTooLarge, status, "a body that does not tell its length is bounded as well")

	chunked = r.request("0123456789")
	chunked.ContentLength = -1
	status, words = r.do(r.client, chunked)
	assert.Equal(t, http.StatusAccepted, status, words)
}

func TestBrokenBody(t *testing.T) {
	r := newRig(t, tls.RequireAndVerifyClientCert, nil)
	cert, err := r.ca.issue("x", sender)
	require.NoError(t, err)
	verifier, err := r.key.Verifier()
	require.NoError(t, err)
	guard, err := receiver.New(receiver.Options{Clients: []string{sender}, Keys: []signature.Verifier{verifier}})
	require.NoError(t, err)
	leaf, err := parseLeaf(cert)
	require.NoError(t, err)
	req := httptest.NewRequest(http.MethodPost, "/", io.MultiReader(strings.NewReader("half"), brokenReader{}))
	req.TLS = verifiedState(leaf)
	recorder := httptest.NewRecorder()
	guard(http.NotFoundHandler()).ServeHTTP(recorder, req)
	assert.Equal(t, http.StatusBadRequest, recorder.Code)
	assert.Contains(t, recorder.Body.String(), "did not arrive whole")
	assert.NotContains(t, recorder.Body.String(), "inner detail")
}

// TestDeclaredLengthIsRefusedUnread: nothing of a body that says it is too large
// is read.
func TestDeclaredLengthIsRefusedUnread(t *testing.T) {
	ca, err := newAuthority()
	require.NoError(t, err)
	cert, err := ca.issue("x", sender)
	require.NoError(t, err)
	leaf, err := parseLeaf(cert)
	require.NoError(t, err)
	_, verifier, err := newKey(signature.V1)
	require.NoError(t, err)
	guard, err := receiver.New(receiver.Options{Clients: []string{sender}, Keys: []signature.Verifier{verifier}})
	require.NoError(t, err)
	req := httptest.NewRequest(http.MethodPost, "/", brokenReader{})
	req.TLS, req.ContentLength = verifiedState(leaf), receiver.DefaultMaxBody+1
	recorder := httptest.NewRecorder()
	guard(http.NotFoundHandler()).ServeHTTP(recorder, req)
	assert.Equal(t, http.StatusRequestEntityTooLarge, recorder.Code)
}
