package system

import (
	"crypto/rand"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream"
)

// deed is a request by which a service that has been taken over could have the server write to a subject: it names the
// subject as where the answer shall go.
type deed struct {
	name, subject, data string
	// inside marks one that names it in the data, as SUBJECT. A consumer delivers only where somebody listens: to victim.
	inside bool
}

// victim is where the operator waits for an answer.
const victim = "_INBOX.operator.victim"

const (
	ownEntry  = "$KV.endpoints.0.acme.shop.status"
	ownAnswer = `{"last_by_subj":"` + ownEntry + `"}`
)

// common are the deeds of every service that follows the documents.
func common() []deed {
	return []deed{
		{name: "one entry", subject: "$JS.API.DIRECT.GET.KV_endpoints", data: ownAnswer},
		{name: "entries", subject: "$JS.API.DIRECT.GET.KV_endpoints", data: `{"seq":1,"batch":10}`},
		{name: "the entry of a key", subject: "$JS.API.DIRECT.GET.KV_endpoints." + ownEntry},
		{name: "a bucket", subject: "$JS.API.STREAM.INFO.KV_endpoints"},
		{name: "an acknowledgement", subject: "deadletters.acme.shop.x", data: "{}"},
		{
			name: "a consumer that pushes", subject: "$JS.API.CONSUMER.CREATE.KV_endpoints.thief.$KV.endpoints.>", inside: true,
			data: `{"stream_name":"KV_endpoints","config":{"name":"thief","deliver_subject":"SUBJECT","filter_subject":"$KV.endpoints.>","ack_policy":"none","deliver_policy":"all"}}`,
		},
	}
}

func signersDeeds() []deed {
	return append(
		common(),
		deed{name: "events", subject: "$JS.API.CONSUMER.MSG.NEXT.EVENTS.signer", data: `{"batch":1,"expires":5000000000}`},
		deed{name: "an event", subject: "$JS.API.DIRECT.GET.EVENTS", data: `{"seq":1}`},
		deed{name: "the next event", subject: "$JS.ACK.EVENTS.signer.1.9999.9999.1.0", data: `+NXT {"batch":1,"expires":5000000000}`},
	)
}

func dispatchersDeeds() []deed {
	return append(
		common(),
		deed{name: "deliveries", subject: "$JS.API.CONSUMER.MSG.NEXT.DELIVERIES.p000", data: `{"batch":1,"group":"d","expires":5000000000}`},
		deed{name: "a delivery", subject: "$JS.API.DIRECT.GET.DELIVERIES", data: `{"seq":1}`},
		deed{name: "the next delivery", subject: "$JS.ACK.DELIVERIES.p000.1.9999.9999.1.0", data: `+NXT {"batch":1,"group":"d","expires":5000000000}`},
	)
}

// targets are what a service may not write to, and the stream that would show it.
func targets() map[string]string {
	return map[string]string{
		"events.globex.x": stream.Events, "$KV.endpoints.0.globex.shop": "KV_" + stream.EndpointBucket,
		"$KV.identities.authority.main": "KV_" + stream.IdentityBucket, "retries.due.0.globex.shop": stream.Retries,
		"deliveries.0.globex.shop": stream.Deliveries, "receipts.globex.shop": stream.Receipts,
	}
}

// may lists the targets that a service may write to all the same.
func may(user string) []string {
	if user == "signer" {
		return []string{"retries.due.0.globex.shop", "deliveries.0.globex.shop"}
	}
	return []string{"receipts.globex.shop"}
}

// scene is a server with something to steal in every place, and the operator who looks at it.
type scene struct {
	*guarded

	js    jetstream.JetStream
	heard *nats.Subscription
}

func set(t *testing.T, changes ...func(*server.Options)) *scene {
	t.Helper()
	s := &scene{guarded: guard(t, changes...)}
	var err error
	operator := s.as("operator", func(err error) { t.Errorf("the operator may not: %v", err) })
	s.js, err = jetstream.New(operator)
	require.NoError(t, err)
	s.heard, err = operator.SubscribeSync(victim)
	require.NoError(t, err)
	require.NoError(t, stream.Topology{Partitions: 2}.Apply(t.Context(), s.js))
	signer, err := jetstream.New(s.as("signer", func(err error) { t.Errorf("the signer may not: %v", err) }))
	require.NoError(t, err)
	for range 64 {
		_, err := s.js.Publish(t.Context(), "events.acme.x", []byte("{}"))
		require.NoError(t, err)
		_, err = signer.Publish(t.Context(), "deliveries.0.acme.shop", []byte("{}"))
		require.NoError(t, err)
	}
	_, err = s.js.Publish(t.Context(), ownEntry, []byte("{}"))
	require.NoError(t, err)
	return s
}

// hit says how often a target was written to.
func (s *scene) hit(target, where string) uint64 {
	s.t.Helper()
	st, err := s.js.Stream(s.t.Context(), where)
	require.NoError(s.t, err)
	info, err := st.Info(s.t.Context(), jetstream.WithSubjectFilter(target))
	require.NoError(s.t, err)
	return info.State.Subjects[target]
}

// last is the sequence of what was written last.
func (s *scene) last(where string) uint64 {
	s.t.Helper()
	st, err := s.js.Stream(s.t.Context(), where)
	require.NoError(s.t, err)
	return st.CachedInfo().State.LastSeq
}

func (s *scene) consumers(where string) int {
	s.t.Helper()
	st, err := s.js.Stream(s.t.Context(), where)
	require.NoError(s.t, err)
	return st.CachedInfo().State.Consumers
}

func (d deed) do(t *testing.T, nc *nats.Conn, target string) {
	t.Helper()
	if d.inside {
		require.NoError(t, nc.Publish(d.subject, []byte(strings.ReplaceAll(d.data, "SUBJECT", target))))
		return
	}
	require.NoError(t, nc.PublishRequest(d.subject, target, []byte(d.data)))
}

// TestNoAnswerCanBeAimed has the user of each service, from the configuration that we ship, try to make the server write
// where the service may not.
func TestNoAnswerCanBeAimed(t *testing.T) {
	for user, deeds := range map[string][]deed{"signer": signersDeeds(), "dispatcher": dispatchersDeeds()} {
		t.Run(user, func(t *testing.T) {
			s := set(t)
			thief := s.as(user, func(error) {})
			aims := targets()
			maps.DeleteFunc(aims, func(target, _ string) bool { return slices.Contains(may(user), target) })
			for _, d := range deeds {
				for target := range aims {
					d.do(t, thief, target)
				}
				d.do(t, thief, victim)
				// What would delete what it must not.
				d.do(t, thief, "$JS.API.STREAM.PURGE.EVENTS")
				d.do(t, thief, "$JS.API.STREAM.DELETE.EVENTS")
			}
			// The server answers a connection in order, and all of its own work is done in far less than this.
			require.NoError(t, thief.FlushTimeout(10*time.Second))
			_, err := thief.Request("$JS.API.DIRECT.GET.KV_endpoints", []byte(ownAnswer), 10*time.Second)
			require.NoError(t, err, "what it may do goes on")
			// Here and not beside the test, as assert.Never would: a look that is under way when the test ends fails.
			for range 5 {
				<-time.After(100 * time.Millisecond)
				for target, where := range aims {
					require.Zero(t, s.hit(target, where), "%s was written to", target)
				}
			}
			heard, _, err := s.heard.Pending()
			require.NoError(t, err)
			assert.Zero(t, heard, "the operator was told something")
			assert.EqualValues(t, 64, s.hit("events.acme.x", stream.Events), "the events are all there")
			assert.Zero(t, s.consumers("KV_"+stream.EndpointBucket), "no consumer was made")
		})
	}
}

// traitor is a user in the account of the streams who may send one request and nothing else.
func traitor(password string, deeds []deed) func(*server.Options) {
	return func(o *server.Options) {
		at := slices.IndexFunc(o.Accounts, func(a *server.Account) bool { return a.Name == "HANDFAST" })
		may := &server.SubjectPermission{}
		for _, d := range deeds {
			may.Allow = append(may.Allow, d.subject)
		}
		o.Users = append(o.Users, &server.User{
			Username: "traitor", Password: password, Account: o.Accounts[at],
			Permissions: &server.Permissions{Publish: may, Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.traitor.>"}}},
		})
	}
}

// TestInOneAccountEveryAnswerIsAWeapon is the other half: the same deeds, of a user with the same permissions who is in
// the account of the streams, write to every target. When it fails, the test above proves nothing any more.
func TestInOneAccountEveryAnswerIsAWeapon(t *testing.T) {
	for user, deeds := range map[string][]deed{"signer": signersDeeds(), "dispatcher": dispatchersDeeds()} {
		t.Run(user, func(t *testing.T) {
			password := rand.Text()
			s := set(t, traitor(password, deeds))
			require.NoError(t, os.WriteFile(s.password("traitor"), []byte(password), 0o600))
			thief := s.as("traitor", func(err error) { t.Errorf("the traitor may not: %v", err) })
			for _, d := range deeds {
				d.do(t, thief, victim)
				_, err := s.heard.NextMsg(10 * time.Second)
				require.NoError(t, err, "%s to the operator", d.name)
				for target, where := range targets() {
					if d.inside {
						continue
					}
					before := s.last(where)
					d.do(t, thief, target)
					require.Eventually(t, func() bool { return s.hit(target, where) > 0 && s.last(where) > before }, 10*time.Second, 5*time.Millisecond,
						"%s to %s", d.name, target)
				}
			}
			deeds[0].do(t, thief, "$JS.API.STREAM.PURGE.EVENTS")
			require.Eventually(t, func() bool { return s.hit("events.acme.x", stream.Events) == 0 }, 10*time.Second, 5*time.Millisecond, "purged")
		})
	}
}

// TestAServiceHearsOfItsOwnBucketsOnly listens to all that its permissions let it, which its account imports in part.
func TestAServiceHearsOfItsOwnBucketsOnly(t *testing.T) {
	for user, hears := range map[string][]string{
		"signer":     {stream.EndpointBucket, stream.SigningKeyBucket, stream.SchemaBucket},
		"dispatcher": {stream.EndpointBucket, stream.IdentityBucket, stream.DispatcherBucket},
	} {
		t.Run(user, func(t *testing.T) {
			s := set(t)
			nc := s.as(user, func(err error) { t.Errorf("%s may not: %v", user, err) })
			told, err := nc.SubscribeSync("changes.>")
			require.NoError(t, err)
			require.NoError(t, nc.Flush())
			buckets := []string{stream.SigningKeyBucket, stream.SchemaBucket, stream.IdentityBucket, stream.DispatcherBucket, stream.AlertBucket, stream.EndpointBucket}
			var want []string
			for _, bucket := range buckets { // that of the endpoints last: what comes before it has been told by then, or will not be
				_, err := s.js.Publish(t.Context(), "$KV."+bucket+".x", []byte("content"))
				require.NoError(t, err)
				if slices.Contains(hears, bucket) {
					want = append(want, "changes."+bucket+".x")
				}
			}
			var got []string
			for range want {
				msg, err := told.NextMsg(10 * time.Second)
				require.NoError(t, err)
				got = append(got, msg.Subject)
				assert.Empty(t, msg.Data, "no content")
			}
			assert.ElementsMatch(t, want, got)
		})
	}
}

// TestAnEntryReplacesNoOthers writes what a service may write, with the headers by which JetStream clears a whole stream,
// or lets an entry end.
func TestAnEntryReplacesNoOthers(t *testing.T) {
	s := set(t)
	dispatcher, err := jetstream.New(s.as("dispatcher", func(err error) { t.Errorf("the dispatcher may not: %v", err) }))
	require.NoError(t, err)
	_, err = s.js.Publish(t.Context(), "$KV.endpoints.0.acme.shop", []byte("{}"))
	require.NoError(t, err)
	for _, rollup := range []string{"all", "sub"} {
		_, err = dispatcher.PublishMsg(t.Context(), &nats.Msg{Subject: ownEntry, Header: nats.Header{"Nats-Rollup": {rollup}}})
		require.Error(t, err, rollup)
	}
	assert.EqualValues(t, 1, s.hit("$KV.endpoints.0.acme.shop", "KV_"+stream.EndpointBucket), "the document is there")
	_, err = dispatcher.PublishMsg(t.Context(), &nats.Msg{Subject: "events.handfast.x", Header: nats.Header{"Nats-Rollup": {"all"}}})
	require.Error(t, err)
	assert.EqualValues(t, 64, s.hit("events.acme.x", stream.Events))
}
