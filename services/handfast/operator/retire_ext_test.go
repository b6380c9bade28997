package operator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/services/handfast/operator"
)

// signedBy applies acme/orders with a section signature.
func (r running) signedBy(t *testing.T, section string, how operator.Application) operator.Change {
	t.Helper()
	text := "tenant: acme\nname: orders\nurl: https://one.example/\n"
	if section != "" {
		text += "signature: " + section + "\n"
	}
	parsed, err := operator.ParseDocuments([]operator.Source{{Name: "x", Text: []byte(text)}})
	require.NoError(t, err)
	changes, err := r.Apply(t.Context(), parsed, how)
	require.NoError(t, err)
	require.Len(t, changes, 1)
	return changes[0]
}

func (r running) stored(t *testing.T) endpoint.Signature {
	t.Helper()
	held, err := r.Endpoint(t.Context(), orders)
	require.NoError(t, err)
	return held.Signature
}

func TestARemovedSchemeRetires(t *testing.T) {
	r := start(t)
	r.signedBy(t, "{schemes: [v1]}", operator.Application{})
	added := r.signedBy(t, "{schemes: [v1, v1a]}", operator.Application{})
	assert.Equal(t, []string{"scheme v1a is new: `handfast key show acme/orders` prints what the receiver needs"}, added.Notes)

	began := time.Now()
	removal := r.signedBy(t, "{schemes: [v1a]}", operator.Application{Overlap: time.Hour})
	assert.Equal(t, operator.Changed, removal.Kind)
	held := r.stored(t)
	assert.Equal(t, []string{"v1a"}, held.Schemes)
	require.Len(t, held.Retiring, 1)
	assert.Equal(t, "v1", held.Retiring[0].Scheme)
	until := held.Retiring[0].Until
	assert.WithinRange(t, until, began.Add(time.Hour-time.Second), time.Now().Add(time.Hour))
	assert.Equal(t, []string{"v1a", "v1"}, held.Signing(time.Now()))
	require.Len(t, removal.Notes, 1)
	assert.Contains(t, removal.Notes[0], "scheme v1 is removed and still signs beside the others, until "+until.UTC().Format(time.RFC3339))

	// The same document again, and one that says something else, leave the end where it is.
	assert.Equal(t, operator.Unchanged, r.signedBy(t, "{schemes: [v1a]}", operator.Application{}).Kind)
	r.signedBy(t, "{schemes: [v1a], algorithms: [ed25519, hmac-sha256]}", operator.Application{})
	assert.Equal(t, until, r.stored(t).Retiring[0].Until)

	// What is listed again does not retire, and what a document sets itself stays.
	r.signedBy(t, "{schemes: [v1a, v1]}", operator.Application{})
	assert.Empty(t, r.stored(t).Retiring)
	r.signedBy(t, "{schemes: [v1a], retiring: {v1: 2026-01-01T00:00:00+01:00}}", operator.Application{})
	assert.True(t, r.stored(t).Retiring[0].Until.Equal(time.Date(2025, 12, 31, 23, 0, 0, 0, time.UTC)))
	assert.Equal(t, []string{"v1a"}, r.stored(t).Signing(time.Now()))
	assert.Equal(t, operator.Unchanged, r.signedBy(t, "{schemes: [v1a]}", operator.Application{}).Kind, "an end that has passed is no reason to store")
	forgets := r.signedBy(t, "{schemes: [v1a, stripe]}", operator.Application{})
	assert.Empty(t, r.stored(t).Retiring, "but it is forgotten with the next change")
	assert.NotContains(t, strings.Join(forgets.Notes, "\n"), "at once")
}

func TestARemovedSchemeStopsNow(t *testing.T) {
	r := start(t)
	r.signedBy(t, "", operator.Application{})
	dry := r.signedBy(t, "{schemes: [v1]}", operator.Application{Dry: true})
	assert.Equal(t, "signature.retiring.v1a", dry.Fields[0].Path)
	assert.Equal(t, []string{"v1", "v1a"}, r.stored(t).Schemes)

	r.signedBy(t, "{schemes: [v1]}", operator.Application{})
	assert.WithinDuration(t, time.Now().Add(operator.DefaultOverlap), r.stored(t).Retiring[0].Until, time.Minute)
	end := r.signedBy(t, "{schemes: [v1]}", operator.Application{Now: true})
	assert.Equal(t, operator.Changed, end.Kind)
	assert.Equal(t, []string{"scheme v1a stops at once: a receiver that verifies only by it refuses requests from now on"}, end.Notes)
	assert.Equal(t, []string{"v1"}, r.stored(t).Signing(time.Now()))

	r.signedBy(t, "{schemes: [v1a]}", operator.Application{Now: true})
	assert.Equal(t, []string{"v1a"}, r.stored(t).Signing(time.Now()))
	assert.Empty(t, r.stored(t).Retiring)
	r.signedBy(t, "{schemes: [v1]}", operator.Application{})
	_, err := r.RevokeKey(t.Context(), orders, ofScheme(t, r.keys(t), signature.V1a).ID, r.d.Vault)
	require.ErrorIs(t, err, signature.ErrLastKey, "what retires still has to be able to sign")
}

func ofScheme(t *testing.T, ring signature.Ring, scheme string) signature.Key {
	t.Helper()
	for _, k := range ring.Keys() {
		if k.Scheme == scheme {
			return k
		}
	}
	t.Fatalf("no key of scheme %s", scheme)
	return signature.Key{}
}

// A policy ends what it does not allow, and the template goes with the scheme that it belongs to.
func TestPolicyAndTemplateInAnOverlap(t *testing.T) {
	r := start(t)
	made := r.signedBy(t, "{schemes: [twilio, template], algorithms: [hmac-sha1, hmac-sha256], template: {header: X-Acme, content: '{body}'}}", operator.Application{})
	assert.Equal(t, []string{signature.Weak("twilio")}, made.Warnings)
	change := r.signedBy(t, "{schemes: [v1], algorithms: [hmac-sha256]}", operator.Application{Overlap: time.Hour})
	require.Len(t, change.Notes, 3)
	assert.Contains(t, change.Notes[1], "scheme template is removed and still signs")
	assert.Equal(t, "scheme twilio stops at once, because signature.algorithms does not allow its algorithm: a receiver that verifies only by it refuses requests from now on", change.Notes[2])
	held := r.stored(t)
	assert.Equal(t, []string{"v1", "template"}, held.Signing(time.Now()))
	assert.Equal(t, "X-Acme", held.Template.Header)
	assert.Equal(t, operator.Unchanged, r.signedBy(t, "{schemes: [v1], algorithms: [hmac-sha256]}", operator.Application{}).Kind)
	r.signedBy(t, "{schemes: [v1], algorithms: [hmac-sha256]}", operator.Application{Now: true})
	assert.Equal(t, endpoint.Template{}, r.stored(t).Template)
	assert.Empty(t, change.Warnings)

	// A document that names both itself is ended by --now all the same.
	own := "{schemes: [v1], retiring: {template: " + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + "}, template: {header: X-Acme, content: '{body}', algorithm: hmac-sha512}}"
	r.signedBy(t, own, operator.Application{})
	assert.Equal(t, []string{"v1", "template"}, r.stored(t).Signing(time.Now()))
	r.signedBy(t, own, operator.Application{Now: true})
	assert.Equal(t, endpoint.Signature{Schemes: []string{"v1"}}, r.stored(t))

	// The algorithm that counts is that of the template which would go on signing.
	r.signedBy(t, "{schemes: [template], template: {header: X-Acme, content: '{body}', algorithm: hmac-sha512}}", operator.Application{Now: true})
	change = r.signedBy(t, "{schemes: [v1], algorithms: [hmac-sha256]}", operator.Application{})
	assert.Contains(t, strings.Join(change.Notes, "\n"), "scheme template stops at once, because")
	assert.Equal(t, []string{"v1"}, r.stored(t).Signing(time.Now()))
}

// A document that is stored although the policy refuses it can be seen, and is mended by a good one.
func TestARefusedDocumentIsToldAndMended(t *testing.T) {
	r := start(t)
	kv, err := r.d.JS.KeyValue(t.Context(), stream.EndpointBucket)
	require.NoError(t, err)
	_, err = kv.Put(t.Context(), stream.EndpointKey(orders, r.d.Topology.Partitions),
		[]byte(`{"tenant":"acme","name":"orders","url":"https://one.example/","signature":{"schemes":["twilio"]}}`))
	require.NoError(t, err)
	held, err := r.Endpoint(t.Context(), orders)
	require.NoError(t, err)
	warnings := operator.Warnings(held.Endpoint, time.Now())
	require.Len(t, warnings, 2)
	assert.Contains(t, warnings[1], "nothing is signed, and deliveries wait: scheme twilio signs with hmac-sha1, which is weak")
	made, err := r.CreateKey(t.Context(), orders, signature.Twilio, false, r.d.Vault)
	require.NoError(t, err)
	assert.Contains(t, strings.Join(made.Notes, "\n"), "the policy of acme/orders does not allow what scheme twilio signs with")
	words, err := r.NoOverlap(t.Context(), orders, signature.Twilio)
	require.NoError(t, err)
	assert.Contains(t, words, "this rotation has no overlap")
	words, err = r.NoOverlap(t.Context(), orders, signature.V1)
	require.NoError(t, err)
	assert.Empty(t, words)

	mended := r.signedBy(t, "{schemes: [v1]}", operator.Application{})
	assert.Empty(t, mended.Warnings)
	assert.Equal(t, []string{"v1"}, r.stored(t).Signing(time.Now()), "what did not sign does not retire")
}
