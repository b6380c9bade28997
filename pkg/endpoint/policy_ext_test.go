package endpoint_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
)

func TestParsePolicy(t *testing.T) {
	e := parse(t, minimal("acme", "orders"))
	assert.Nil(t, e.Signature.Algorithms)
	assert.Nil(t, e.Signature.Retiring)
	assert.True(t, e.Signature.Allows("v1"))
	assert.False(t, e.Signature.Allows("twilio"))

	e = parse(t, minimal("acme", "orders")+`signature:
  schemes: [twilio, v1]
  algorithms: [hmac-sha1, hmac-sha256]
  retiring: {template: 2020-01-31T12:00:00+01:00, github: "2020-01-31T12:00:00Z"}
  template: {header: X-Acme, content: "{body}"}
`)
	assert.Equal(t, []string{"hmac-sha1", "hmac-sha256"}, e.Signature.Algorithms)
	assert.Empty(t, e.Signature.Refused())
	assert.False(t, e.Signature.Allows("v1a"))
	require.Len(t, e.Signature.Retiring, 2)
	assert.Equal(t, "github", e.Signature.Retiring[0].Scheme)
	assert.Equal(t, "template", e.Signature.Retiring[1].Scheme)
	assert.Equal(t, endpoint.Template{Header: "X-Acme", Content: "{body}"}, e.Signature.Template)
}

// A scheme that retires signs at its last instant, and not after it.
func TestSigning(t *testing.T) {
	e, err := endpoint.Restore([]byte(minimal("acme", "orders") + "signature: {schemes: [v1], retiring: {v1a: 2027-01-31T12:00:00Z, stripe: 2027-02-28T12:00:00Z}}\n"))
	require.NoError(t, err)
	until := time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)
	assert.Equal(t, []string{"v1", "stripe", "v1a"}, e.Signature.Signing(until))
	assert.Equal(t, []string{"v1", "stripe"}, e.Signature.Signing(until.Add(1)))
	assert.Equal(t, []string{"v1"}, e.Signature.Signing(until.AddDate(1, 0, 0)))
	assert.Equal(t, []string{"v1"}, e.Signature.Schemes, "the list itself stays")
	assert.Zero(t, testing.AllocsPerRun(100, func() { e.Signature.Signing(until.AddDate(1, 0, 0)) }))
}

// What a policy refuses can be read back, so that it can be seen and mended.
func TestRestoreKeepsWhatThePolicyRefuses(t *testing.T) {
	document := []byte(minimal("acme", "orders") + "signature: {schemes: [v1, twilio]}\n")
	_, err := endpoint.Parse(document)
	require.ErrorContains(t, err, "twilio signs with hmac-sha1")
	e, err := endpoint.Restore(document)
	require.NoError(t, err)
	require.Len(t, e.Signature.Refused(), 1)
	assert.Contains(t, e.Signature.Refused()[0], "scheme twilio signs with hmac-sha1, which is weak")

	_, err = endpoint.Restore([]byte(minimal("acme", "orders") + "signature: {schemes: [v1], retiring: {v1a: 2199-01-01T00:00:00Z}}\n"))
	require.NoError(t, err)
	_, err = endpoint.Restore([]byte(minimal("acme", "orders") + "signature: {schemes: [v1], retiring: {v1a: never}}\n"))
	require.Error(t, err)
}
