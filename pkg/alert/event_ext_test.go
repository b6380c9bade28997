package alert_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/alert"
	"github.com/handfast/handfast/pkg/event"
)

var update = flag.Bool("update", false, "write the examples of package schemas anew")

var _ alert.Sender = (*event.Publisher)(nil)

// The examples of package schemas are whole events, as a subscriber receives them.
func TestExamplesOfPackageSchemas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pass(time.Until(time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)))
		w := newWorld(t)
		d := w.desk(nil)
		defer d.stop()
		start := time.Now()
		recorded := &recorder{}
		through := alert.Through(recorded)
		d.set(func(s *session) { s.tap = through })

		require.NoError(t, d.See(certificate(alert.Server, "acme/orders", "example", start.Add(-358*day), 365*day)))
		pass(time.Second)
		d.Outcome(orders, refused, alert.Evidence{
			Detail: "the receiver refused our certificate: unknown certificate authority",
			Advice: "Ask the receiver to trust our CA: handfast identity ca",
			Trace:  "4bf92f3577b34da6a3ce929d0e0e4736",
			Server: &alert.Party{
				Subject: "CN=hooks.example.com", Issuer: "CN=Example Issuing CA,O=Example", Names: []string{"hooks.example.com"},
				NotAfter: start.Add(7 * day), Fingerprints: []string{fingerprint("example")},
			},
		})
		pass(2 * time.Minute)
		require.NoError(t, d.Rotated(rotation(alert.Stalled, start.Add(-day))))
		pass(time.Second)

		require.Len(t, recorded.events, 3)
		for i, name := range []string{"alert-certificate", "alert-endpoint", "alert-rotation"} {
			golden(t, filepath.Join("..", "..", "schemas", "example", name+".json"), recorded.events[i])
		}
	})
}

func golden(t *testing.T, path string, e cloudevents.Event) {
	t.Helper()
	msg, err := event.NewStructuredMessage(alert.Tenant, e)
	require.NoError(t, err)
	if *update {
		var out bytes.Buffer
		require.NoError(t, json.Indent(&out, msg.Data, "", "  "))
		require.NoError(t, os.WriteFile(path, append(out.Bytes(), '\n'), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.JSONEq(t, string(want), string(msg.Data), "%s; go test ./pkg/alert -update writes it anew", path)
}

// recorder is a Sender like the Publisher of pkg/event.
type recorder struct{ events []cloudevents.Event }

// Publish implements alert.Sender.
func (r *recorder) Publish(_ context.Context, tenant string, e cloudevents.Event) (uint64, bool, error) {
	if tenant == alert.Tenant {
		r.events = append(r.events, e)
	}
	return 1, false, nil
}

// The identity of news does not depend on who tells it, when, or in what words.
func TestIdentityOfNews(t *testing.T) {
	ids := func(t *testing.T, after time.Duration, detail string) []string {
		t.Helper()
		var out []string
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			start := time.Now()
			pass(after)
			d := w.desk(nil)
			defer d.stop()
			require.NoError(t, d.See(certificate(alert.Server, "acme/orders", "a", start, 365*day)))
			pass(time.Second)
			r := rotation(alert.Started, start)
			r.Detail = detail
			require.NoError(t, d.Rotated(r))
			pass(time.Second)
			for _, e := range w.take() {
				out = append(out, e.id)
			}
		})
		return out
	}
	first := ids(t, 340*day, "one")
	assert.Len(t, first, 2)
	assert.Equal(t, first, ids(t, 345*day, "two"))
	assert.NotEqual(t, first[0], ids(t, 360*day, "two")[0], "another step is other news")
}
