package endpoint_test

import (
	"sync"
	"testing"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
)

// event is the least that a filter looks at. A filter that asks for the whole
// CloudEvent is seen in asked, when that is set.
type event struct {
	kind       string
	extensions map[string]any
	asked      *int
}

func (e event) Type() string { return e.kind }

func (e event) CloudEvent() cloudevents.Event {
	if e.asked != nil {
		*e.asked++
	}
	out := cloudevents.New()
	out.SetID("1")
	out.SetSource("/shop")
	out.SetType(e.kind)
	for name, value := range e.extensions {
		out.SetExtension(name, value)
	}
	return out
}

func filtered(tb testing.TB, filter string) *endpoint.Endpoint {
	tb.Helper()
	return parse(tb, minimal("acme", "orders")+"filter: "+filter+"\n")
}

func TestMatchTypes(t *testing.T) {
	for _, test := range []struct {
		filter  string
		yes, no []string
	}{
		{`{}`, []string{"a", "a.b.c"}, nil},
		{`{types: ["com.acme.order.*"]}`, []string{"com.acme.order.created"}, []string{"com.acme.order.line.added", "com.acme.order", "com.acme.order.", "com.acme.orders.created", "Com.acme.order.created", "x.com.acme.order.created"}},
		{`{types: ["com.acme.**"]}`, []string{"com.acme.a", "com.acme.a.b.c"}, []string{"com.acme", "com.acme.", "com.acmes.a"}},
		{`{types: ["**"]}`, []string{"a", "a.b"}, []string{""}},
		{`{types: ["*"]}`, []string{"a"}, []string{"a.b", ""}},
		{`{types: ["*.b.*"]}`, []string{"a.b.c"}, []string{"a.b", "b.c", "a.b.c.d", "a.x.c"}},
		{`{types: ["*.**"]}`, []string{"a.b", "a.b.c"}, []string{"a", "a."}},
		{`{types: ["a.b", "c.*"]}`, []string{"a.b", "c.d"}, []string{"a", "a.b.c", "c"}},
	} {
		e := filtered(t, test.filter)
		for _, kind := range test.yes {
			matched, err := e.Match(event{kind: kind})
			require.NoError(t, err)
			assert.True(t, matched, "%s matches %s", test.filter, kind)
		}
		for _, kind := range test.no {
			matched, err := e.Match(event{kind: kind})
			require.NoError(t, err)
			assert.False(t, matched, "%s does not match %s", test.filter, kind)
		}
	}
}

func TestMatchCESQL(t *testing.T) {
	for _, test := range []struct {
		cesql      string
		extensions map[string]any
		want       bool
		problem    string
	}{
		{"amount > 100 AND region = 'eu'", map[string]any{"amount": 101, "region": "eu"}, true, ""},
		{"amount > 100 AND region = 'eu'", map[string]any{"amount": "101", "region": "us"}, false, ""},
		{"amount > 100", nil, false, "the event has no attribute amount (guard it with EXISTS amount AND …)"},
		{"EXISTS amount AND amount > 100", nil, false, ""},
		{"amount > 100", map[string]any{"amount": "much"}, false, "cannot cast from String to Integer"},
		{"1 / 0 = 1", nil, false, "division by zero"},
		{"source LIKE '/sh%' AND type IN ('a', 'b')", nil, true, ""},
		{"vip", map[string]any{"vip": true}, true, ""},
		{"vip", map[string]any{"vip": "TRUE"}, true, ""},
		{"vip", map[string]any{"vip": "perhaps"}, false, "the result is neither true nor false"},
		{"LEFT(type, -1) = 'a'", nil, false, "LEFT"},
	} {
		t.Run(test.cesql, func(t *testing.T) {
			e := filtered(t, `{cesql: "`+test.cesql+`"}`)
			matched, err := e.Match(event{kind: "a", extensions: test.extensions})
			assert.Equal(t, test.want, matched)
			if test.problem == "" {
				require.NoError(t, err)
				return
			}
			var failed *endpoint.FilterError
			require.ErrorAs(t, err, &failed)
			assert.Equal(t, endpoint.Key{Tenant: "acme", Name: "orders"}, failed.Endpoint)
			assert.Equal(t, test.cesql, failed.Expression)
			require.ErrorContains(t, err, test.cesql)
			require.ErrorContains(t, err, test.problem)
			assert.Error(t, failed.Unwrap())
		})
	}
}

func TestCESQLIsAskedOnlyAfterTheType(t *testing.T) {
	e := filtered(t, `{types: ["a.*"], cesql: "TRUE"}`)
	asked := 0
	matched, err := e.Match(event{kind: "b.c", asked: &asked})
	require.NoError(t, err)
	assert.False(t, matched)
	assert.Zero(t, asked)
	matched, err = e.Match(event{kind: "a.c", asked: &asked})
	require.NoError(t, err)
	assert.True(t, matched)
	assert.Equal(t, 1, asked)
}

func TestMatchFromManyGoroutines(t *testing.T) {
	e := filtered(t, `{types: ["a.*"], cesql: "EXISTS n AND ABS(n) IN (3, 4) AND source LIKE '/s%'"}`)
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			for range 100 {
				matched, err := e.Match(event{kind: "a.b", extensions: map[string]any{"n": i}})
				assert.NoError(t, err) //nolint:testifylint // require must not run outside the goroutine of the test
				assert.Equal(t, i == 3 || i == 4, matched)
			}
		})
		group.Go(func() { // the parser shares tables among all its users
			_, err := endpoint.Parse([]byte(full))
			assert.NoError(t, err)
		})
	}
	group.Wait()
}

func TestTypePatternsDoNotAllocate(t *testing.T) {
	e := filtered(t, `{types: ["x.y", "com.acme.*.created", "com.acme.**"]}`)
	var ev endpoint.Event = event{kind: "com.acme.invoice.line.added"}
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		if matched, err := e.Match(ev); !matched || err != nil {
			t.Error("must match")
		}
	}))
}

func BenchmarkMatchTypes(b *testing.B) {
	e := filtered(b, `{types: ["com.other.thing", "com.acme.*.created", "com.acme.order.**"]}`)
	var ev endpoint.Event = event{kind: "com.acme.order.line.added"}
	b.ReportAllocs()
	for b.Loop() {
		if matched, err := e.Match(ev); !matched || err != nil {
			b.Fatal(matched, err)
		}
	}
}

func BenchmarkMatchCESQL(b *testing.B) {
	e := filtered(b, `{types: ["com.acme.**"], cesql: "amount > 100 AND region = 'eu'"}`)
	built := event{kind: "com.acme.a", extensions: map[string]any{"amount": 101, "region": "eu"}}.CloudEvent()
	ev := ready{built}
	b.ReportAllocs()
	for b.Loop() {
		if matched, err := e.Match(ev); !matched || err != nil {
			b.Fatal(matched, err)
		}
	}
}

// ready is an event that was built before, as when several endpoints look at it.
type ready struct{ built cloudevents.Event }

func (r ready) Type() string                  { return r.built.Type() }
func (r ready) CloudEvent() cloudevents.Event { return r.built }

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := endpoint.Parse([]byte(full)); err != nil {
			b.Fatal(err)
		}
	}
}
