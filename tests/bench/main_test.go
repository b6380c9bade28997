package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A small run must give the one object that the README shows, with every figure measured.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a whole pipeline")
	}
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			s := settings{
				deliveries: 200, rounds: 2, window: 50, rate: 100, seconds: 1.2, rotations: 1, probes: 200, handshakes: 12, http2: http2,
			}
			require.NoError(t, run(t.Context(), s, &out, slog.New(slog.DiscardHandler)))
			decoder := json.NewDecoder(&out)
			var printed map[string]any
			require.NoError(t, decoder.Decode(&printed))
			require.ErrorIs(t, decoder.Decode(&struct{}{}), io.EOF, "exactly one object")
			assert.ElementsMatch(t, []string{"raw", "pipeline", "ratio", "rotation", "handshake"}, keys(printed))
			raw, pipeline := printed["raw"].(map[string]any), printed["pipeline"].(map[string]any)
			assert.ElementsMatch(t, []string{"per_second", "cpu_us"}, keys(raw))
			assert.ElementsMatch(t, []string{"per_second", "cpu_us", "p50_ms", "p99_ms", "handshakes", "reused_share", "handshakes_per_thousand"}, keys(pipeline))
			rotation, handshake := printed["rotation"].(map[string]any), printed["handshake"].(map[string]any)
			assert.ElementsMatch(t, []string{"throughput", "p99", "seconds", "handshakes"}, keys(rotation))
			concurrent := handshake["concurrent"].(map[string]any)
			assert.ElementsMatch(t, []string{"bare_us", "pool_us", "ratio", "bare_cpu_us", "pool_cpu_us", "cpu_ratio"}, keys(concurrent))
			assert.ElementsMatch(t, append(keys(concurrent), "concurrent"), keys(handshake))
			delete(handshake, "concurrent")
			for of, figures := range map[string]map[string]any{
				"raw": raw, "pipeline": pipeline, "rotation": rotation, "handshake": handshake, "concurrent": concurrent,
			} {
				for name, figure := range figures {
					assert.Positive(t, figure, "%s.%s", of, name)
				}
			}
			assert.Positive(t, printed["ratio"])
			assert.GreaterOrEqual(t, pipeline["handshakes"], float64(receivers), "every receiver has been reached")
			assert.GreaterOrEqual(t, pipeline["p99_ms"], pipeline["p50_ms"])
			assert.InDelta(t, pipeline["handshakes"].(float64)*1000/float64(s.deliveries*s.rounds), pipeline["handshakes_per_thousand"], 0.01)
			assert.GreaterOrEqual(t, rotation["handshakes"], float64(receivers), "every receiver has met the next identity")
			assert.GreaterOrEqual(t, rotation["seconds"], float64(endpoints)/s.probes-0.1, "at the rate of probes")
		})
	}
}

func keys(object map[string]any) []string {
	var all []string
	for key := range object {
		all = append(all, key)
	}
	return all
}

func TestParse(t *testing.T) {
	s, err := parse([]string{"--rounds", "3", "--http2", "--cpuprofile", "cpu.pprof"}, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, settings{
		deliveries: 16_000, rounds: 3, window: 4096, rate: 1000, seconds: 8, rotations: 2, probes: 10, handshakes: 600, http2: true, cpuProfile: "cpu.pprof", mode: modeAll, length: time.Minute,
	}, s)

	_, err = parse([]string{"--mode", "some", "--for", "1ms", "--rounds", "0", "--seconds", "NaN", "--probes", "0", "more"}, io.Discard)
	require.ErrorContains(t, err, "--rounds 0: give at least 1")
	require.ErrorContains(t, err, "--seconds NaN: give more than 0")
	require.ErrorContains(t, err, "--probes 0: give more than 0")
	require.ErrorContains(t, err, "--mode some: give all, schemes or keys")
	require.ErrorContains(t, err, "--for 1ms: give at least 1s")
	assert.ErrorContains(t, err, `unexpected argument "more"`)
}

// Both sides must send bodies of one size, whatever the number, and the receiver must find the number in both.
func TestBodies(t *testing.T) {
	l, err := newLoad()
	require.NoError(t, err)
	raw, err := l.template()
	require.NoError(t, err)
	for _, n := range []int{0, 7, 123_456, 9_999_999_999} {
		fromPipeline, err := l.body(n)
		require.NoError(t, err)
		fromRaw := raw.fill(nil, n)
		assert.Len(t, fromPipeline, bodySize)
		assert.Len(t, fromRaw, bodySize)
		for _, body := range [][]byte{fromPipeline, fromRaw} {
			got, err := numberIn(body)
			require.NoError(t, err)
			assert.Equal(t, n, got)
		}
	}
	for _, body := range []string{``, `{"number":"12`, `{"number":"12345x7890"}`, `{"other":"1234567890"}`} {
		_, err := numberIn([]byte(body))
		assert.Error(t, err, body)
	}
}

func TestPercentile(t *testing.T) {
	values := []float64{5, 1, 4, 2, 3}
	for share, want := range map[float64]float64{0: 1, 0.2: 1, 0.21: 2, 0.5: 3, 0.99: 5, 1: 5} {
		assert.InDelta(t, want, percentile(values, share), 0, "share %g", share)
	}
	assert.Equal(t, []float64{5, 1, 4, 2, 3}, values, "the values keep their order")
	assert.True(t, math.IsNaN(percentile(nil, 0.5)))
}

// An event that comes twice, or belongs to another run, must not end a run early.
func TestArrivals(t *testing.T) {
	var got []int
	a := newArrivals(10, 3, func(index int) { got = append(got, index) })
	for _, number := range []int{9, 13, 10, 10, 12} {
		a.note(number)
	}
	assert.Equal(t, []int{0, 2}, got)
	select {
	case <-a.done:
		t.Fatal("one event is missing")
	default:
	}
	a.note(11)
	assert.NoError(t, a.wait(t.Context()))
}
