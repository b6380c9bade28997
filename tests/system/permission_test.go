package system

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/stream"
)

// TestPermissionsAreEnough takes deliveries every way that they can go, each service under its own user: delivered, tried
// again, held back in the backlog, given up, and switched off.
func TestPermissionsAreEnough(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes, and waits for a retry")
	}
	g := guard(t)
	ca, err := authority.New("Handfast permission test authority")
	require.NoError(t, err)
	certificate, key, err := ca.Client(client)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(g.dir, "identity.pem"), append(certificate, key...), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(g.dir, "master.key"), []byte(strings.Repeat("5a", 32)), 0o600))

	var services []*process
	services = append(services,
		g.launch("signer", "signer", "--http=", "--master-key-file", filepath.Join(g.dir, "master.key")),
		g.launch("dispatcher", "dispatcher", "--http=", "--id", "d1", "--allow", "127.0.0.0/8", "--identity", "default="+filepath.Join(g.dir, "identity.pem")),
	)
	topology := g.launch("operator", "topology", "apply", "--partitions", "2")
	<-topology.ended
	require.Zero(t, topology.command.ProcessState.ExitCode(), topology.tail(4<<10))

	hooks := listen(t, ca, map[string][]int{"/good": {204}, "/later": {503, 204}, "/no": {400}, "/gone": {410}, "/paused": {204}})
	operator := g.operator()
	for _, name := range []string{"good", "later", "no", "gone"} {
		operator.apply(ca, hooks.host, name, false)
	}
	operator.apply(ca, hooks.host, "paused", true)
	producer := g.producer()
	producer("later", "no", "gone", "paused", "good")

	until := func(what string, holds func() bool) {
		t.Helper()
		require.Eventually(t, func() bool {
			for _, s := range services {
				s.alive()
			}
			return holds()
		}, 60*time.Second, 20*time.Millisecond, what)
	}
	until("delivered", func() bool { return hooks.count("/good") == 1 })
	until("given up", func() bool { return operator.messages(stream.DeadLetters) >= 1 })
	until("switched off", func() bool { return operator.disabled("gone") })
	until("held back", func() bool { return operator.messages(stream.Backlog) == 1 })
	operator.apply(ca, hooks.host, "paused", false)
	until("resumed", func() bool { return hooks.count("/paused") == 1 && operator.messages(stream.Backlog) == 0 })
	until("tried again", func() bool { return hooks.count("/later") == 2 })
	until("recorded", func() bool { return operator.messages(stream.Receipts) >= 6 })
	until("nothing left", func() bool {
		return operator.messages(stream.Deliveries) == 0 && operator.messages(stream.Retries) == 0
	})
	assert.Equal(t, client, hooks.client)
	for _, s := range services {
		said := s.tail(1 << 20)
		assert.NotContains(t, strings.ToLower(said), "permission", s.name)
		assert.NotContains(t, said, "trying again", s.name)
	}
}

// waysToRead are the requests by which a stream's messages can be got at, as far as JetStream has them.
func waysToRead(name, subject string) []string {
	return []string{
		"$JS.API.DIRECT.GET." + name,
		"$JS.API.DIRECT.GET." + name + "." + subject,
		"$JS.API.STREAM.MSG.GET." + name,
		"$JS.API.CONSUMER.CREATE." + name,
		"$JS.API.CONSUMER.CREATE." + name + ".thief",
		"$JS.API.CONSUMER.CREATE." + name + ".thief." + subject,
		"$JS.API.CONSUMER.DURABLE.CREATE." + name + ".thief",
		"$JS.API.CONSUMER.MSG.NEXT." + name + ".thief",
		"$JS.API.STREAM.SNAPSHOT." + name,
		"$JS.API.STREAM.CREATE.THIEF", // a mirror
		"$JS.API.STREAM.UPDATE." + name,
		"$JS.API.STREAM.PURGE." + name,
		"$JS.API.STREAM.DELETE." + name,
	}
}

// TestPermissionsAreNoMoreThanEnough holds for each user what it may not do, next to what it may. What is forbidden is
// refused, or ends where nobody answers: outside of what the user's account imports.
func TestPermissionsAreNoMoreThanEnough(t *testing.T) {
	g := guard(t)
	operator, err := jetstream.New(g.as("operator", func(err error) { t.Errorf("the operator may not: %v", err) }))
	require.NoError(t, err)
	require.NoError(t, stream.Topology{Partitions: 2}.Apply(t.Context(), operator))
	keys, identities := waysToRead("KV_signing-keys", "$KV.signing-keys.>"), waysToRead("KV_identities", "$KV.identities.>")
	for _, test := range []struct {
		user       string
		may, mayNo []string
		hears, not []string
	}{
		{
			user: "producer", may: []string{"events.acme.com.acme.order"},
			mayNo: append([]string{
				"events.globex.com.acme.order", "events", "deliveries.0.acme.x", "retries.at.0.acme.x.y", "$KV.endpoints.0.acme.x", "$JS.API.INFO",
			}, append(waysToRead("EVENTS", "events.acme.>"), keys...)...),
			hears: []string{"_INBOX.producer.a"}, not: []string{"_INBOX.signer.>", "_INBOX.>", "events.>", "deliveries.>", ">"},
		},
		{
			user: "signer", may: []string{"deliveries.0.acme.x", "$KV.signing-keys.0.acme.x", "$JS.API.DIRECT.GET.KV_signing-keys.$KV.signing-keys.0.acme.x"},
			mayNo: append([]string{"events.acme.x", "receipts.acme.x", "$KV.endpoints.0.acme.x", "$KV.endpoints.0.acme.x.status", "$KV.schemas.x", "$KV.identities.identity.default", "$KV.dispatchers.d1", "$JS.ACK.DELIVERIES.p000.1.1.1.1.0"}, identities...),
			hears: []string{"_INBOX.signer.a", "changes.endpoints.>"}, not: []string{"_INBOX.dispatcher.>", "_INBOX.>", "events.>", "$KV.identities.>", ">"},
		},
		{
			user: "dispatcher", may: []string{
				"receipts.acme.x", "$KV.endpoints.0.acme.x.status", "$KV.dispatchers.d1", "$KV.identities.identity.default", "$KV.identities.assignment.default",
				"$KV.identities.rotation.default.0.acme.x", "$KV.alerts.x", "events.handfast.handfast.identity.expiring",
				"$JS.API.DIRECT.GET.KV_identities",
			},
			mayNo: append([]string{
				"deliveries.0.acme.x", "events.acme.x", "backlog.0.acme.x", "retries.due.0.acme.x", "$KV.endpoints.0.acme.x", "$KV.signing-keys.0.acme.x", "$KV.identities.authority.main",
				"$JS.API.CONSUMER.MSG.NEXT.EVENTS.signer", "$JS.ACK.EVENTS.signer.1.1.1.1.0",
			}, append(waysToRead("EVENTS", "events.>"), keys...)...),
			hears: []string{"_INBOX.dispatcher.a", "changes.identities.>"}, not: []string{"_INBOX.signer.>", "_INBOX.>", "deliveries.>", "$KV.signing-keys.>", ">"},
		},
		{
			user: "operator", may: []string{"events.acme.x", "$KV.endpoints.0.acme.x", "$JS.API.STREAM.INFO.EVENTS"},
			mayNo: []string{"deliveries.0.acme.x", "receipts.acme.x", "$SYS.REQ.SERVER.PING"},
			hears: []string{"_INBOX.operator.a"}, not: []string{"_INBOX.signer.>", "_INBOX.>", ">"},
		},
	} {
		t.Run(test.user, func(t *testing.T) {
			refusals := make(chan error, 1)
			nc := g.as(test.user, func(err error) { refusals <- err })
			answers := make(chan *nats.Msg, 64)
			inbox := "_INBOX." + test.user + ".answers"
			_, err := nc.ChanSubscribe(inbox, answers)
			require.NoError(t, err)
			// refused waits for the next refusal. What was allowed before it left none, or it would be this one.
			refused := func(what string) {
				t.Helper()
				select {
				case err := <-refusals:
					require.ErrorIs(t, err, nats.ErrPermissionViolation)
					require.Contains(t, err.Error(), `"`+what+`"`)
				case answer := <-answers:
					require.Equal(t, "503", answer.Header.Get("Status"), "%s may %s, and is answered %s", test.user, what, answer.Data)
				case <-time.After(10 * time.Second):
					require.Fail(t, test.user+" may "+what)
				}
			}
			for _, subject := range test.may {
				answer, err := nc.Request(subject, []byte(`{"seq":1,"batch":1}`), 10*time.Second)
				require.NoError(t, err, subject)
				require.NotEqual(t, "503", answer.Header.Get("Status"), subject)
			}
			for _, subject := range test.hears {
				_, err := nc.SubscribeSync(subject)
				require.NoError(t, err)
			}
			for _, subject := range test.mayNo {
				require.NoError(t, nc.PublishRequest(subject, inbox, nil))
				refused(subject)
			}
			for _, subject := range test.not {
				_, err := nc.SubscribeSync(subject)
				require.NoError(t, err)
				refused(subject)
			}
		})
	}
}

func TestAStrangerIsNobody(t *testing.T) {
	g := guard(t)
	for _, option := range []nats.Option{nats.UserInfo("signer", "guess"), nats.UserInfo("nobody", ""), nats.Name("without a user")} {
		_, err := nats.Connect(g.url, option)
		require.ErrorIs(t, err, nats.ErrAuthorization)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	wrong := g.launch("signer", "topology", "apply")
	select {
	case <-wrong.ended:
	case <-ctx.Done():
		require.Fail(t, "a command without permission must say so and end")
	}
	assert.Equal(t, 1, wrong.command.ProcessState.ExitCode())
	assert.Contains(t, wrong.tail(4<<10), "NATS refused: ")
}
