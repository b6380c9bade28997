package rotation_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/rotation"
)

const (
	goodAssignment = `{"version":1,"name":"default","uses":"default","rotation":{"id":"0123456789abcdef","to":"next","state":"running",` +
		`"started_at":"2026-01-02T03:04:05Z","started_by":"ada"},"history":[{"from":"old","to":"default","ended_at":"2025-01-02T03:04:05Z","how":"completed"}]}`
	goodStatus = `{"version":1,"rotation":"0123456789abcdef","stage":"refused","basis":"said","reason":"no","since":"2026-01-02T03:04:05Z",` +
		`"probed_at":"2026-01-02T03:04:05Z","next_probe":"2026-01-02T03:05:05Z","probes":1,"revision":7,"mark":"m"}`
)

func day() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

func TestRecordsComeBackAsWritten(t *testing.T) {
	a, err := rotation.ParseAssignment([]byte(goodAssignment))
	require.NoError(t, err)
	assert.Equal(t, rotation.Running, a.Rotation.State)
	assert.Equal(t, rotation.Completed, a.History[0].How)
	text, err := a.Encode()
	require.NoError(t, err)
	assert.JSONEq(t, goodAssignment, string(text))

	s, err := rotation.ParseStatus([]byte(goodStatus))
	require.NoError(t, err)
	assert.Equal(t, rotation.Refused, s.Stage)
	text, err = s.Encode()
	require.NoError(t, err)
	assert.JSONEq(t, goodStatus, string(text))
}

func TestAssignmentsAreReadStrictly(t *testing.T) {
	cases := []struct{ name, old, with, want string }{
		{"another version", `"version":1`, `"version":2`, "version 2"},
		{"no version", `"version":1,`, ``, "version 0"},
		{"an unknown field", `"version":1`, `"version":1,"extra":1`, "extra"},
		{"a field twice", `"uses":"default"`, `"uses":"default","uses":"other"`, "twice"},
		{"other spelling", `"uses"`, `"Uses"`, "spelt"},
		{"a null", `"uses":"default"`, `"uses":null`, "null"},
		{"a bad name", `"name":"default"`, `"name":"De fault"`, "name"},
		{"a bad id", `0123456789abcdef`, `1`, "hexadecimal"},
		{"to what is in use", `"to":"next"`, `"to":"default"`, "in use already"},
		{"an unknown state", `"running"`, `"resting"`, "resting"},
		{"an unknown ending", `"completed"`, `"given_up"`, "given_up"},
		{"no start", `"started_at":"2026-01-02T03:04:05Z",`, ``, "when it started"},
		{"nobody", `"started_by":"ada"`, `"started_by":""`, "started_by"},
		{"changed by nobody", `"started_by":"ada"`, `"started_by":"ada","changed_at":"2026-01-02T03:04:05Z"`, "changed_by"},
		{"no end", `"ended_at":"2025-01-02T03:04:05Z",`, ``, "when it ended"},
		{"something after it", `"how":"completed"}]}`, `"how":"completed"}]}{}`, "follows"},
		{"too deep", `"uses":"default"`, `"uses":` + strings.Repeat("[", 20) + strings.Repeat("]", 20), "deep"},
		{"too long", `"ada"`, `"` + strings.Repeat("a", 70<<10) + `"`, "long"},
		{"half of it", `"how":"completed"}]}`, ``, "JSON"},
		{"no object", goodAssignment, `17`, "object"},
		{"nothing", goodAssignment, ``, "JSON"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(goodAssignment, c.old, c.with, 1)
			require.NotEqual(t, goodAssignment, text)
			_, err := rotation.ParseAssignment([]byte(text))
			assert.ErrorContains(t, err, c.want)
		})
	}
	_, err := rotation.ParseAssignment([]byte(`{"version":3,"name":"A","uses":"B","rotation":{"id":"x","to":"B","state":"running","started_at":"2026-01-02T03:04:05Z","started_by":""}}`))
	for _, all := range []string{"version 3", `name "A"`, `uses "B"`, "hexadecimal", "in use already", "started_by"} {
		assert.ErrorContains(t, err, all)
	}
}

func TestStatusesAreReadStrictly(t *testing.T) {
	cases := []struct{ name, old, with, want string }{
		{"another version", `"version":1`, `"version":2`, "version 2"},
		{"an unknown field", `"version":1`, `"version":1,"extra":1`, "extra"},
		{"an unknown stage", `"refused"`, `"maybe"`, "maybe"},
		{"no stage", `"stage":"refused",`, ``, "stage 0"},
		{"no basis", `"basis":"said",`, ``, "basis 0"},
		{"by hand and nobody", `"said"`, `"by_hand"`, "belong together"},
		{"somebody and not by hand", `"probes":1`, `"probes":1,"pinned_by_operator":"ada"`, "belong together"},
		{"refused by hand", `"said"`, `"by_hand","pinned_by_operator":"ada"`, "only an acceptance"},
		{"no rotation", `"rotation":"0123456789abcdef"`, `"rotation":""`, "id"},
		{"no receiver", `"mark":"m"`, `"mark":""`, "mark"},
		{"no next probe", `"next_probe":"2026-01-02T03:05:05Z",`, ``, "probed again"},
		{"no time", `"since":"2026-01-02T03:04:05Z"`, `"since":"0001-01-01T00:00:00Z"`, "since when"},
		{"a negative counter", `"probes":1`, `"probes":-1`, "negative"},
		{"a long reason", `"no"`, `"` + strings.Repeat("n", 1001) + `"`, "longer"},
		{"not UTF-8", `"no"`, "\"\xff\"", "UTF-8"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(goodStatus, c.old, c.with, 1)
			require.NotEqual(t, goodStatus, text)
			_, err := rotation.ParseStatus([]byte(text))
			assert.ErrorContains(t, err, c.want)
		})
	}
}

func TestWhatIsWrongIsNotWritten(t *testing.T) {
	_, err := rotation.Assignment{Name: "UPPER"}.Encode()
	require.ErrorContains(t, err, "name")
	require.ErrorContains(t, err, "uses")
	_, err = rotation.Status{}.Encode()
	require.ErrorContains(t, err, "stage")
	require.ErrorContains(t, err, "mark")
	a := rotation.Assign("default")
	for range 11 {
		a.History = append(a.History, rotation.Ended{From: "a", To: "b", EndedAt: day(), How: rotation.Completed})
	}
	_, err = a.Encode()
	require.ErrorContains(t, err, "at most 10")
}

func TestClosedLists(t *testing.T) {
	round := func(value, into any) {
		t.Helper()
		text, err := json.Marshal(value)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, into))
	}
	for _, s := range []rotation.State{rotation.Running, rotation.Paused, rotation.RollingBack} {
		var back rotation.State
		round(s, &back)
		assert.Equal(t, s, back)
	}
	for _, s := range rotation.Stages() {
		var back rotation.Stage
		round(s, &back)
		assert.Equal(t, s, back)
		assert.NotEqual(t, "unknown", s.String())
	}
	for _, s := range []rotation.Basis{rotation.Said, rotation.Inferred, rotation.Ours, rotation.ByHand} {
		var back rotation.Basis
		round(s, &back)
		assert.Equal(t, s, back)
	}
	for _, s := range []rotation.How{rotation.Completed, rotation.RolledBack} {
		var back rotation.How
		round(s, &back)
		assert.Equal(t, s, back)
	}
	for _, none := range []any{rotation.State(0), rotation.State(9), rotation.Stage(0), rotation.Basis(9), rotation.How(0)} {
		_, err := json.Marshal(none)
		require.ErrorContains(t, err, "closed list")
	}
	var s rotation.Stage
	require.Error(t, s.UnmarshalText(nil), "the zero value has no word")
	assert.Equal(t, "unknown", s.String())
}

func TestKeys(t *testing.T) {
	key := endpoint.Key{Tenant: "acme", Name: "orders"}
	text := rotation.StatusKey("default", 31, key)
	assert.Equal(t, "rotation.default.31.acme.orders", text)
	assert.True(t, rotation.IsStatusKey(text))
	assert.False(t, rotation.IsAssignmentKey(text))
	identity, partition, back, err := rotation.ParseStatusKey(text)
	require.NoError(t, err)
	assert.Equal(t, "default", identity)
	assert.Equal(t, 31, partition)
	assert.Equal(t, key, back)
	assert.Equal(t, "assignment.default", rotation.AssignmentKey("default"))
	for _, wrong := range []string{"", "rotation.", "rotation.default.01.a.b", "rotation.default.-1.a.b", "rotation.default.1.a", "rotation.default.1.a.b.c", "rotation.D.1.a.b", "rotation.default.1.A.b", "assignment.default"} {
		_, _, _, err := rotation.ParseStatusKey(wrong)
		require.Error(t, err, wrong)
	}
	for _, wrong := range []string{"", "assignment.", "assignment.a.b", "assignment.A", "identity.default"} {
		_, err := rotation.ParseAssignmentKey(wrong)
		require.Error(t, err, wrong)
	}
}

func FuzzParseAssignment(f *testing.F) {
	for _, seed := range []string{goodAssignment, `{"version":1,"name":"a","uses":"b"}`, `{}`, `[{}]`, `{"version":1,"name":"a","uses":"b","history":[]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := rotation.ParseAssignment(data)
		if err != nil {
			return
		}
		text, err := a.Encode()
		require.NoError(t, err, "what is read can be written")
		again, err := rotation.ParseAssignment(text)
		require.NoError(t, err)
		second, err := again.Encode()
		require.NoError(t, err)
		require.Equal(t, string(text), string(second))
	})
}

func FuzzParseStatus(f *testing.F) {
	for _, seed := range []string{goodStatus, `{"version":1,"rotation":"0123456789abcdef","stage":"waiting","since":"2026-01-02T03:04:05Z","probes":0,"revision":0,"mark":"m"}`, `null`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := rotation.ParseStatus(data)
		if err != nil {
			return
		}
		text, err := s.Encode()
		require.NoError(t, err, "what is read can be written")
		again, err := rotation.ParseStatus(text)
		require.NoError(t, err)
		second, err := again.Encode()
		require.NoError(t, err)
		require.Equal(t, string(text), string(second))
	})
}

func FuzzParseStatusKey(f *testing.F) {
	f.Add("rotation.default.31.acme.orders")
	f.Add("rotation.default.256.a.b")
	f.Add("assignment.default")
	f.Fuzz(func(t *testing.T, text string) {
		if identity, err := rotation.ParseAssignmentKey(text); err == nil {
			require.Equal(t, text, rotation.AssignmentKey(identity))
		}
		if identity, partition, key, err := rotation.ParseStatusKey(text); err == nil {
			require.Equal(t, text, rotation.StatusKey(identity, partition, key))
		}
	})
}
