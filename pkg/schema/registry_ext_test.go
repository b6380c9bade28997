package schema_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/event"
	"github.com/handfast/handfast/pkg/schema"
)

func orders() schema.Kind { return schema.Kind{Tenant: "acme", Type: "com.acme.order"} }

func at(seconds float64) time.Time {
	return time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}

// put stores a version as the command would.
func put(tb testing.TB, r *schema.Registry, number int, applied float64, text, base string) schema.Name {
	tb.Helper()
	name := schema.Name{Kind: orders(), Number: number}
	value, err := schema.Encode(name, compile(tb, text), base)
	require.NoError(tb, err)
	v := schema.Read(name, value, at(applied))
	require.NoError(tb, v.Problem())
	r.Put(v)
	return name
}

func ordered(tb testing.TB, data string, header ...string) event.Event {
	tb.Helper()
	h := nats.Header{"ce-specversion": {"1.0"}, "ce-id": {"1"}, "ce-source": {"/s"}, "ce-type": {"com.acme.order"}, "ce-datacontenttype": {"application/json"}}
	for i := 0; i+1 < len(header); i += 2 {
		h[header[i]] = []string{header[i+1]}
	}
	e, err := event.Parse("events.acme.com.acme.order", h, []byte(data))
	require.NoError(tb, err)
	return e
}

func TestNamesOfSchemas(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ kind, key, urn, url string }{
		{"com.acme.order", "acme.com.acme.order.2", "urn:handfast:schema:acme:com.acme.order:2", "https://s.example.com/x/schemas/acme/com.acme.order/2"},
		{"a/b:c=%#?", "acme.a=2Fb=3Ac=3D=25=23=3F.2", "urn:handfast:schema:acme:a%2Fb%3Ac%3D%25%23%3F:2", "https://s.example.com/x/schemas/acme/a%2Fb%3Ac%3D%25%23%3F/2"},
		{"retired", "acme.retired.2", "urn:handfast:schema:acme:retired:2", "https://s.example.com/x/schemas/acme/retired/2"},
	} {
		name := schema.Name{Kind: schema.Kind{Tenant: "acme", Type: c.kind}, Number: 2}
		assert.Equal(t, c.key, name.Key())
		assert.Equal(t, c.urn, name.URI(""))
		assert.Equal(t, c.url, name.URI("https://s.example.com/x/"))
		for key, wanted := range map[string]bool{name.Key(): false, name.RetiredKey(): true} {
			back, retired, err := schema.ParseKey(key)
			require.NoError(t, err)
			assert.Equal(t, name, back)
			assert.Equal(t, wanted, retired)
		}
		for _, uri := range []string{c.urn, c.url} {
			_, err := ordered(t, "{}").WithDataSchema(uri)
			require.NoError(t, err, "a URI that an event can have")
		}
	}
	for _, key := range []string{"", "acme", "acme.2", "acme..2", "acme.a.02", "acme.a.0", "acme.a.1000000", "acme.a.x", "ACME.a.1", "acme.a=2.1", "acme.a=2f.1", "acme.a=41.1", "acme.a=20b.1", "acme.a.1.deleted", "acme.retired", "acme.a.1.retired.retired", "acme." + strings.Repeat("a", 257) + ".1"} {
		_, _, err := schema.ParseKey(key)
		require.Error(t, err, key)
	}
	_, err := schema.NewKind("Acme", "a b"+strings.Repeat("x", 300))
	for _, want := range []string{"tenant", "printable ASCII", "at most 256"} {
		require.ErrorContains(t, err, want, "everything at once")
	}
}

func TestBaseURLs(t *testing.T) {
	t.Parallel()
	for base, good := range map[string]bool{
		"": true, "https://schemas.example.com": true, "http://127.0.0.1:9464/x/": true,
		"schemas.example.com": false, "ftp://x": false, "https://x?y": false, "https://x/#y": false, "https://u:p@x": false,
		"https://x/a b": false, "https://x/ü": false, "https://" + strings.Repeat("x", 300): false, "https://": false,
	} {
		assert.Equal(t, good, schema.CheckBase(base) == nil, base)
	}
}

func TestWhichVersionHolds(t *testing.T) {
	t.Parallel()
	var r schema.Registry
	one := put(t, &r, 1, 0, `{"required":["a"]}`, "")
	put(t, &r, 2, 10, `{"required":["b"]}`, "https://s.example.com")
	r.Retire(one, at(20))
	both := `{"a":1,"b":1}`
	for _, c := range []struct {
		at         float64
		dataschema string
		version    int
		says       string
		problem    string
	}{
		{at: 0},
		{at: 0.4},
		{at: 0.5, version: 1, says: "urn:handfast:schema:acme:com.acme.order:1"},
		{at: 10.4, version: 1, says: "urn:handfast:schema:acme:com.acme.order:1"},
		{at: 10.5, version: 2, says: "https://s.example.com/schemas/acme/com.acme.order/2"},
		{at: 10.5, dataschema: "urn:handfast:schema:acme:com.acme.order:1", version: 1, says: "urn:handfast:schema:acme:com.acme.order:1"},
		{at: 10.5, dataschema: "urn:handfast:schema:acme:com.acme.order:2", version: 2, says: "https://s.example.com/schemas/acme/com.acme.order/2"},
		{at: 10.5, dataschema: "https://s.example.com/schemas/acme/com.acme.order/2", version: 2, says: "https://s.example.com/schemas/acme/com.acme.order/2"},
		{at: 10.4, dataschema: "urn:handfast:schema:acme:com.acme.order:2", problem: "names version 2, which was applied only at the moment"},
		{at: 20.4, dataschema: "urn:handfast:schema:acme:com.acme.order:1", version: 1, says: "urn:handfast:schema:acme:com.acme.order:1"},
		{at: 20.5, dataschema: "urn:handfast:schema:acme:com.acme.order:1", problem: "names version 1, which has been deleted"},
		{at: 20.5, dataschema: "https://s.example.com/schemas/acme/com.acme.order/3", problem: "names no version of the schema"},
		{at: 20.5, dataschema: "urn:handfast:schema:acme:com.acme.other:1", problem: "names no version of the schema"},
		{at: 20.5, dataschema: "urn:handfast:schema:other:com.acme.order:1", problem: "names no version of the schema"},
		{at: 20.5, dataschema: "https://s.example.com/other", version: 2, says: "https://s.example.com/other"},
		{at: 0, dataschema: "urn:handfast:schema:acme:com.acme.order:1"},
	} {
		t.Run(fmt.Sprint(c.at, c.dataschema), func(t *testing.T) {
			t.Parallel()
			e := ordered(t, both)
			if c.dataschema != "" {
				e = ordered(t, both, "ce-dataschema", c.dataschema)
			}
			verdict, err := r.Judge(e, at(c.at))
			if c.problem != "" {
				var violation *schema.ViolationError
				require.ErrorAs(t, err, &violation)
				assert.ErrorContains(t, err, c.problem)
				return
			}
			require.NoError(t, err)
			if c.version == 0 {
				assert.Nil(t, verdict.Version)
				assert.Empty(t, verdict.DataSchema)
				return
			}
			assert.Equal(t, c.version, verdict.Version.Number)
			assert.Equal(t, c.says, verdict.DataSchema)
		})
	}
}

func TestPinning(t *testing.T) {
	t.Parallel()
	var r schema.Registry
	one := put(t, &r, 1, 0, `{"required":["a"]}`, "")
	put(t, &r, 2, 0, `{}`, "")
	r.Put(schema.Read(schema.Name{Kind: orders(), Number: 3}, []byte(`{}`), at(100)))
	r.Retire(one, at(1))
	verdict, err := r.Judge(ordered(t, `{"a":1}`), at(10))
	require.NoError(t, err)
	says, err := verdict.Pin(1)
	require.NoError(t, err, "a deleted one holds for those who pin it")
	assert.Equal(t, "urn:handfast:schema:acme:com.acme.order:1", says)
	says, err = verdict.Pin(2)
	require.NoError(t, err)
	assert.Equal(t, "urn:handfast:schema:acme:com.acme.order:2", says)
	var unusable *schema.UnusableError
	_, err = verdict.Pin(3)
	require.ErrorAs(t, err, &unusable, "broken")
	_, err = verdict.Pin(4)
	require.ErrorAs(t, err, &unusable, "not there")
	require.ErrorContains(t, err, "there is no such version")

	verdict, err = r.Judge(ordered(t, `{}`, "ce-dataschema", "https://else.example.com"), at(10))
	require.NoError(t, err)
	_, err = verdict.Pin(1)
	var violation *schema.ViolationError
	require.ErrorAs(t, err, &violation)
	assert.Equal(t, []string{"the event breaks version 1 of the schema of com.acme.order", `data: lacks "a"`}, violation.Reasons())
	says, err = verdict.Pin(2)
	require.NoError(t, err)
	assert.Equal(t, "https://else.example.com", says)
	says, err = schema.Verdict{}.Pin(1)
	require.NoError(t, err, "without a schema a pin means nothing")
	assert.Empty(t, says)
}

func TestBrokenVersions(t *testing.T) {
	t.Parallel()
	name := schema.Name{Kind: orders(), Number: 2}
	other, err := schema.Encode(schema.Name{Kind: orders(), Number: 1}, compile(t, `{}`), "")
	require.NoError(t, err)
	for what, value := range map[string]string{
		"no record":       `{"type":"object"}`,
		"no JSON":         `{`,
		"another version": string(other),
		"no URI":          `{"tenant":"acme","type":"com.acme.order","version":2,"uri":"no uri","schema":{}}`,
		"no schema":       `{"tenant":"acme","type":"com.acme.order","version":2,"uri":"urn:x:y","schema":{"type":"objekt"}}`,
		"nothing":         ``,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var r schema.Registry
			put(t, &r, 1, 0, `{}`, "")
			v := schema.Read(name, []byte(value), at(0))
			require.Error(t, v.Problem())
			assert.Equal(t, "broken", v.State())
			r.Put(v)
			_, err := r.Judge(ordered(t, `{}`), at(10))
			var unusable *schema.UnusableError
			require.ErrorAs(t, err, &unusable)
			assert.Equal(t, name, unusable.Name)
			verdict, err := r.Judge(ordered(t, `{}`, "ce-dataschema", "urn:handfast:schema:acme:com.acme.order:1"), at(10))
			require.NoError(t, err, "one that is good can be named")
			assert.Equal(t, 1, verdict.Version.Number)
			r.Retire(name, at(11))
			verdict, err = r.Judge(ordered(t, `{}`), at(10))
			require.NoError(t, err, "deleting it lets also those go on that waited for it")
			assert.Equal(t, 1, verdict.Version.Number)
		})
	}
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	var r schema.Registry
	assert.Nil(t, r.Set(orders()))
	assert.Equal(t, 1, r.Set(orders()).Next())
	name := schema.Name{Kind: orders(), Number: 7}
	r.Retire(name, at(3)) // before the version comes
	put(t, &r, 7, 0, `{}`, "")
	put(t, &r, 3, 0, `{}`, "")
	set := r.Set(orders())
	assert.Equal(t, at(3), set.Version(7).Retired)
	assert.Equal(t, "deleted", set.Version(7).State())
	assert.Equal(t, 8, set.Next(), "a number is not given twice")
	assert.Equal(t, 3, set.Newest(at(100)).Number)
	r.Retire(name, time.Time{})
	assert.Equal(t, 7, r.Set(orders()).Newest(at(100)).Number)
	assert.Equal(t, 3, set.Newest(at(100)).Number, "a set is a snapshot")
	assert.True(t, r.Knows(orders(), "urn:handfast:schema:acme:com.acme.order:3"))
	assert.False(t, r.Knows(orders(), "urn:handfast:schema:acme:com.acme.order:4"))
	r.Remove(name)
	r.Remove(name)
	require.Len(t, r.Sets(), 1)
	r.Remove(schema.Name{Kind: orders(), Number: 3})
	assert.Empty(t, r.Sets())
	assert.Nil(t, r.Set(orders()))
}

// TestManyCheckAtOnce is for the race detector.
func TestManyCheckAtOnce(t *testing.T) {
	t.Parallel()
	var r schema.Registry
	put(t, &r, 1, 0, order, "")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 50 {
				_, err := r.Judge(ordered(t, fmt.Sprintf(`{"id":"AB%d","total":%d}`, i, i)), at(10))
				assert.NoError(t, err) //nolint:testifylint // require must not be called beside the test
				_, err = r.Judge(ordered(t, `{"id":1,"total":"x"}`), at(10))
				assert.ErrorContains(t, err, "2 problems")
			}
		})
		all.Go(func() { put(t, &r, 2+i, 100, order, "") })
	}
	all.Wait()
}

func TestOtherData(t *testing.T) {
	t.Parallel()
	var r schema.Registry
	put(t, &r, 1, 0, `{"type":["object","null"]}`, "")
	structured := func(rest string) event.Event {
		e, err := event.Parse("events.acme.com.acme.order", nats.Header{"Content-Type": {"application/cloudevents+json"}},
			[]byte(`{"specversion":"1.0","id":"1","source":"/s","type":"com.acme.order"`+rest+`}`))
		require.NoError(t, err)
		return e
	}
	for name, c := range map[string]struct {
		event event.Event
		good  bool
	}{
		"an object":             {structured(`,"data":{}`), true},
		"none":                  {structured(``), true},
		"null":                  {structured(`,"data":null`), true},
		"JSON in base64":        {structured(`,"datacontenttype":"application/json","data_base64":"e30="`), true},
		"no JSON in base64":     {structured(`,"datacontenttype":"application/json","data_base64":"e3t7"`), false},
		"bytes":                 {structured(`,"data_base64":"e30="`), false},
		"text":                  {structured(`,"datacontenttype":"text/plain","data":"{}"`), false},
		"an object that is XML": {structured(`,"datacontenttype":"application/xml","data":{}`), true},
		"bytes in binary mode":  {ordered(t, "\x00", "ce-datacontenttype", "application/octet-stream"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := r.Judge(c.event, at(10))
			if c.good {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, "is not JSON, and only JSON can be checked against a schema")
		})
	}
}
