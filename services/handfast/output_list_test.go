package main

import (
	"context"
	"log/slog"
	"math/rand"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/receipt"
	"github.com/handfast/handfast/pkg/rotation"
	"github.com/handfast/handfast/pkg/seal"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/stream/embedded"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/services/handfast/table"
)

// What people write when they write much: a tenant and an endpoint of 40 characters, and the longest names of ours.
const (
	longTenant   = "acme-logistics-eu"
	longEndpoint = "warehouse-orders-fulfil"
	longKey      = longTenant + "/" + longEndpoint
	longID       = "msg_abcdefghijklmnopqrstuvwxyz234567"
	longName     = "spiffe-production-dispatchers-eu-west-01"
)

var listNow = time.Date(2026, 11, 24, 20, 0, 0, 0, time.UTC)

// lists renders every list of the command, each with what its rows have to say on any width.
func lists(t *testing.T) map[string]struct {
	out  string
	says []string
} {
	t.Helper()
	require.Len(t, longKey, 41)
	require.Len(t, longID, 36)
	require.Len(t, longName, 40)
	type list = struct {
		out  string
		says []string
	}
	v := longInventory(t)
	return map[string]list{
		"delivery list": {render(t, deliveryTable(longReceipts(), listNow)), []string{
			longID, longKey, "client_certificate_not_requested", "client_certificate_refused 400", "in 31m", "11-24 19:25:55", "2025-12-31 23:59",
		}},
		"deadletter list": {render(t, letterTable(longLetters())), []string{
			longID, longKey, "server_certificate_untrusted", "client_certificate_not", "11-24 19:25:55", "the receiver's certificate was not issued",
		}},
		"key list":             {longKeys(t), []string{longKey, "active", "unused", signature.HTTPECDSA, "key_"}},
		"endpoint list":        {render(t, endpointTable(longEndpoints(t), listNow)), []string{longKey, "disabled", "https://hooks.warehouse", "1234", "56789"}},
		"schema list":          {render(t, schemaTable(longSchemas(), listNow)), []string{longTenant + "/com.acme.order", "12", "11-24 19:25:55", longEndpoint}},
		"rotate status":        {render(t, rotationTable(longRotations())), []string{longName, "rolled_back", "100 %", "2026-11-24"}},
		"identity list":        {render(t, identityTable(v)), []string{longName, "active", "authority", "spiffe://example.com/"}},
		"identity authorities": {render(t, authorityTable(v)), []string{operator.MainAuthority, "active"}},
	}
}

// TestListsFitATerminal is the promise that tables fit 80 columns, and still say which, when, what happened and what next.
func TestListsFitATerminal(t *testing.T) {
	for _, columns := range []string{"80", "100", "132"} {
		t.Setenv("COLUMNS", columns)
		for name, list := range lists(t) {
			for line := range strings.Lines(list.out) {
				assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), table.Width(columns), "%s at %s columns:\n%s", name, columns, list.out)
			}
			if columns == "80" {
				for _, want := range list.says {
					assert.Contains(t, list.out, want, "%s", name)
				}
			}
		}
	}
}

// TestListsInPipesAreWhole holds that a program gets one line a row, with nothing cut or shortened.
func TestListsInPipesAreWhole(t *testing.T) {
	t.Setenv("COLUMNS", "")
	for name, list := range lists(t) {
		assert.NotContains(t, list.out, "…", name)
		assert.NotRegexp(t, "(?m)^  ", list.out, name)
	}
	assert.Contains(t, lists(t)["delivery list"].out, "2026-11-24T20:31:00Z")
}

func render(t *testing.T, tab *table.Table) string {
	t.Helper()
	var out strings.Builder
	require.NoError(t, tab.Write(&out))
	return out.String()
}

func longReceipts() []receipt.Receipt {
	next := listNow.Add(31 * time.Minute)
	r := receipt.Receipt{
		Delivery: longID, Tenant: longTenant, Endpoint: longEndpoint, Event: receipt.Event{Type: "com.acme.warehouse.order.fulfilment.completed"},
		Attempt: 12, At: time.Date(2026, 11, 24, 19, 25, 55, 0, time.UTC), Outcome: delivery.ClientCertificateNotRequested, Next: &next,
	}
	refused, old := r, r
	refused.Outcome, refused.Status = delivery.ClientCertificateRefused, 400
	old.Outcome, old.Status, old.Next, old.At = delivery.Delivered, 200, nil, time.Date(2025, 12, 31, 23, 59, 0, 0, time.UTC)
	return []receipt.Receipt{r, refused, old}
}

func longLetters() ([]operator.Letter, map[string]receipt.Receipt, time.Time) {
	outcome := delivery.ServerCertificateUntrusted
	l := operator.Letter{ID: longID}
	l.Tenant, l.Endpoint, l.Outcome, l.At = longTenant, longEndpoint, &outcome, time.Date(2026, 11, 24, 19, 25, 55, 0, time.UTC)
	l.Reasons = []string{"the receiver's certificate was not issued by an authority that this endpoint trusts", "another reason"}
	return []operator.Letter{l}, map[string]receipt.Receipt{longID: longReceipts()[0]}, listNow
}

func longKeys(t *testing.T) string {
	t.Helper()
	random := rand.New(rand.NewSource(1))
	keys := make([]signature.Key, 0, 2)
	for _, scheme := range []string{signature.V1, signature.HTTPECDSA} {
		k, err := signature.GenerateKey(scheme, listNow, random)
		require.NoError(t, err)
		k.State = signature.Active
		keys = append(keys, k)
	}
	ring, err := signature.NewRing(keys...)
	require.NoError(t, err)
	key := endpoint.Key{Tenant: longTenant, Name: longEndpoint}
	var out strings.Builder
	use := operator.UseOf(map[endpoint.Key][]string{key: {signature.HTTPECDSA}})
	require.NoError(t, new(keyListCommand).print(streams{out: &out, err: &out}, []operator.HeldKeys{{Endpoint: key, Ring: ring}}, use))
	return strings.Split(out.String(), "warning:")[0]
}

func longEndpoints(t *testing.T) []operator.Stored {
	t.Helper()
	e, err := endpoint.Parse([]byte("tenant: " + longTenant + "\nname: " + longEndpoint + `
url: https://hooks.warehouse.logistics.eu-west-1.example.com:8443/in
filter: {types: [com.acme.warehouse.order.fulfilment.completed, com.acme.warehouse.order.cancelled]}
signature: {schemes: [v1, v1a, rfc9421-ecdsa-p256-sha256]}
activation: {kind: cloudevents, origin: webhooks.acme-logistics.example.com}
`))
	require.NoError(t, err)
	retrying := uint64(56789)
	s := operator.Stored{Registered: endpoint.Registered{Endpoint: e, Revision: 1}, Waiting: 1234, Retrying: &retrying}
	s.Status.Disabled = &endpoint.Disabled{Revision: 1, At: listNow}
	return []operator.Stored{s}
}

func longSchemas() []listedSchema {
	return []listedSchema{{
		Schema: longTenant + "/com.acme.order.fulfilled", Version: 12, State: "active", Applied: "2026-11-24T19:25:55Z",
		URI: "https://schemas.acme-logistics.example.com/com.acme.order.fulfilled/12", Pinned: []string{longEndpoint, longEndpoint + "-2"},
	}}
}

func longRotations() []operator.RotationStatus {
	running := operator.RotationStatus{Progress: rotation.Progress{
		Identity: longName, Uses: longName, To: longName + "-2", Accepted: make([]rotation.Line, 1234),
		Rotation: &rotation.Rotation{To: longName + "-2", State: rotation.Running, StartedAt: listNow},
	}}
	over := operator.RotationStatus{
		Progress: rotation.Progress{Identity: longName},
		History:  []rotation.Ended{{From: longName, To: longName + "-2", EndedAt: listNow, How: rotation.RolledBack}},
	}
	return []operator.RotationStatus{running, over}
}

func longInventory(t *testing.T) *operator.Inventory {
	t.Helper()
	broker, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(broker.Stop)
	nc, err := stream.Connect("test", "", slog.New(slog.DiscardHandler), broker.Option())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	topology := stream.Topology{Partitions: 2}
	require.NoError(t, topology.Apply(t.Context(), js))
	w, err := operator.New(js, topology).Wallet(t.Context())
	require.NoError(t, err)
	return create(t.Context(), t, w)
}

func create(ctx context.Context, t *testing.T, w *operator.Wallet) *operator.Inventory {
	t.Helper()
	master, err := seal.GenerateMasterKey(rand.New(rand.NewSource(1)))
	require.NoError(t, err)
	sans := []string{"spiffe://example.com/" + longName, "dispatchers.eu-west-1.acme-logistics.example.com"}
	_, err = w.Create(ctx, longName, operator.MainAuthority, operator.ProfileOf("", sans, 0), seal.Vault{Current: master})
	require.NoError(t, err)
	v, err := w.Inventory(ctx)
	require.NoError(t, err)
	return v
}
