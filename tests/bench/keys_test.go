package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

// Keys are rotated every second for some seconds under full load. The whole minute is `go run ./tests/bench -mode keys`.
func TestKeysUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a whole pipeline")
	}
	var out bytes.Buffer
	s := settings{mode: modeKeys, length: 5 * time.Second, window: 64, rotations: 1, probes: 10}
	require.NoError(t, measure(t.Context(), s, &out, slog.New(slog.DiscardHandler)))
	decoder := json.NewDecoder(&out)
	var printed struct {
		Keys keyReport `json:"keys"`
	}
	require.NoError(t, decoder.Decode(&printed))
	require.ErrorIs(t, decoder.Decode(&struct{}{}), io.EOF, "exactly one object")
	got := printed.Keys
	assert.Zero(t, got.Refused)
	assert.Zero(t, got.Repeated)
	assert.GreaterOrEqual(t, got.Rotations, 2*2*endpoints, "both schemes of every endpoint, more than once")
	assert.GreaterOrEqual(t, got.Signatures, 2)
	assert.Positive(t, got.Deliveries)
	assert.Positive(t, got.PerSecond)
	assert.Positive(t, got.Quiet)
	for knows := onlyOld; knows <= both; knows++ {
		assert.Positive(t, got.Verified[knows.String()], knows)
	}
}

// What each receiver goes by, at each moment of a key's life.
func TestPupils(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		class := newClass()
		key := func(state signature.State) signature.Key {
			k, err := signature.GenerateKey(signature.V1, time.Now(), rand.Reader)
			require.NoError(t, err)
			k.State = state
			return k
		}
		tell := func(k signature.Key, first bool) {
			for _, p := range class.pupils[:3] {
				p.meet(k, first)
			}
		}
		// by tells which of the pupils 0 (old), 1 (new) and 2 (both) accept what a key has signed.
		by := func(k signature.Key) []bool {
			k.State, k.NotAfter = signature.Active, time.Time{}
			ring, err := signature.NewRing(k)
			require.NoError(t, err)
			fields, _, err := signature.Signer{}.Sign(signature.Request{ID: "msg_1", Time: time.Now(), Body: []byte("{}")}, []string{signature.V1}, ring)
			require.NoError(t, err)
			header := http.Header{}
			for _, f := range fields {
				header.Set(f.Name, f.Value)
			}
			var all []bool
			for _, p := range class.pupils[:3] {
				_, err := signature.VerifyStandard(header, []byte("{}"), p.verifiers(signature.V1, time.Now()), time.Now(), 0)
				all = append(all, err == nil)
			}
			return all
		}
		first, second := key(signature.Active), key(signature.Next)
		tell(first, true)
		tell(second, false)
		assert.Equal(t, []bool{true, true, true}, by(first))
		assert.Equal(t, []bool{false, true, true}, by(second))

		end := time.Now().Add(keyOverlap)
		first.State, first.NotAfter, second.State = signature.Retiring, end, signature.Active
		tell(first, false)
		tell(second, false)
		assert.Equal(t, []bool{true, true, true}, by(first), "another signer may not know yet")
		assert.Equal(t, []bool{false, true, true}, by(second), "old keys only")
		<-time.After(lag) // virtual time
		assert.Equal(t, []bool{true, false, true}, by(first), "new keys only")
		<-time.After(time.Until(end) - resolution) // virtual time
		assert.Equal(t, []bool{true, false, true}, by(first), "its last second")
		<-time.After(time.Nanosecond) // virtual time
		assert.Equal(t, []bool{false, false, false}, by(first))
		assert.Equal(t, []bool{true, true, true}, by(second), "at the last moment the first one learns of it")
	})
}

// A signature that no receiver can verify must fail the run.
func TestPupilsRefuse(t *testing.T) {
	class := newClass()
	request := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/hooks/7", http.NoBody)
	assert.False(t, class.accepts(request, nil), "without a time")
	request.Header.Set(signature.HeaderTimestamp, "1614265330")
	assert.False(t, class.accepts(request, nil))
	assert.False(t, class.accepts(httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/hooks/50", http.NoBody), nil))
	report := class.report()
	assert.Equal(t, 3, report.Refused)
	assert.Equal(t, map[string]int{"only_old": 0, "only_new": 0, "both": 0}, report.Verified)
	require.ErrorContains(t, class.first, "webhook-timestamp")
	assert.Equal(t, "knowledge(7)", knowledge(7).String())
}

// A small run must have every figure, and the sides in relation to each other.
func TestSchemes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a whole pipeline")
	}
	var out bytes.Buffer
	s := settings{mode: modeSchemes, deliveries: 100, rounds: 2, window: 50, rotations: 1, probes: 10}
	require.NoError(t, measure(t.Context(), s, &out, slog.New(slog.DiscardHandler)))
	var printed schemeReport
	require.NoError(t, json.Unmarshal(out.Bytes(), &printed))
	assert.Len(t, printed.Signing, len(signature.Schemes()))
	for scheme, c := range printed.Signing {
		assert.Positive(t, c.Nanoseconds, scheme)
		assert.Positive(t, c.Allocations, scheme)
		assert.Positive(t, c.Bytes, scheme)
	}
	require.ElementsMatch(t, []string{"v1", "v1+v1a", "v1+v1a+rfc9421-ed25519+stripe"}, keysOf(printed.Pipeline))
	for schemes, c := range printed.Pipeline {
		assert.Positive(t, c.PerSecond, schemes)
		assert.Positive(t, c.Ratio, schemes)
		assert.Positive(t, c.CPUOfFirst, schemes)
	}
	assert.InDelta(t, 1, printed.Pipeline["v1"].OfFirst, 0)
	assert.InDelta(t, 1, printed.Pipeline["v1"].CPUOfFirst, 0)
}

func keysOf[T any](of map[string]T) []string {
	var all []string
	for key := range of {
		all = append(all, key)
	}
	return all
}

// None may always profit or suffer from the same one before it.
func TestOrder(t *testing.T) {
	n := len(sets()) + 1
	follows, places := map[[2]int]int{}, map[[2]int]int{}
	for round := range n {
		turn := order(n, round)
		for place, i := range turn {
			places[[2]int{place, i}]++
			if place > 0 {
				follows[[2]int{turn[place-1], i}]++
			}
		}
	}
	assert.Len(t, places, n*n)
	assert.Len(t, follows, n*(n-1), "each after each other one, once in %d rounds", n)
}

func TestRelation(t *testing.T) {
	of, to := []cost{{PerSecond: 50, CPU: 3}, {PerSecond: 80, CPU: 4}, {PerSecond: 90, CPU: 8}}, []cost{{PerSecond: 100, CPU: 2}, {PerSecond: 100, CPU: 2}, {PerSecond: 100, CPU: 2}}
	assert.InDelta(t, 0.8, relation(of, to, speed), 1e-9)
	assert.InDelta(t, 2, relation(of, to, effort), 1e-9)
	_, err := repeated(func(int) error { return errors.New("it cannot be signed") })
	assert.ErrorContains(t, err, "it cannot be signed")
}
