package schema_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/schema"
)

// wide is a schema of twenty fields, and data that keeps it.
func wide() (text, data string) {
	var fields, values []string
	for i := range 20 {
		switch i % 4 {
		case 0:
			fields, values = append(fields, fmt.Sprintf(`"f%d":{"type":"string","maxLength":100}`, i)), append(values, fmt.Sprintf(`"f%d":"some text of a usual length"`, i))
		case 1:
			fields, values = append(fields, fmt.Sprintf(`"f%d":{"type":"integer","minimum":0}`, i)), append(values, fmt.Sprintf(`"f%d":%d`, i, i))
		case 2:
			fields, values = append(fields, fmt.Sprintf(`"f%d":{"enum":["new","paid","sent"]}`, i)), append(values, fmt.Sprintf(`"f%d":"paid"`, i))
		default:
			fields, values = append(fields, fmt.Sprintf(`"f%d":{"type":"string","pattern":"^[A-Z]{2}[0-9]+$"}`, i)), append(values, fmt.Sprintf(`"f%d":"AB%d"`, i, i))
		}
	}
	return `{"type":"object","required":["f0","f1"],"additionalProperties":false,"properties":{` + strings.Join(fields, ",") + `}}`, "{" + strings.Join(values, ",") + "}"
}

func BenchmarkJudge(b *testing.B) {
	text, data := wide()
	var r schema.Registry
	put(b, &r, 1, 0, text, "")
	e := ordered(b, data)
	when := at(10)
	b.Run("20 fields", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.Judge(e, when); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("another type", func(b *testing.B) {
		var others schema.Registry
		others.Put(schema.Read(schema.Name{Kind: schema.Kind{Tenant: "acme", Type: "x"}, Number: 1}, nil, at(0)))
		b.ReportAllocs()
		for b.Loop() {
			_, _ = others.Judge(e, when)
		}
	})
	b.Run("no schema", func(b *testing.B) {
		var none schema.Registry
		b.ReportAllocs()
		for b.Loop() {
			_, _ = none.Judge(e, when)
		}
	})
}

func BenchmarkCompile(b *testing.B) {
	text, _ := wide()
	for b.Loop() {
		if _, err := schema.Compile([]byte(text)); err != nil {
			b.Fatal(err)
		}
	}
}

// TestNothingIsAllocatedWithoutASchema: who has no schemas pays nothing for them.
func TestNothingIsAllocatedWithoutASchema(t *testing.T) {
	var none, others schema.Registry
	others.Put(schema.Read(schema.Name{Kind: schema.Kind{Tenant: "acme", Type: "x"}, Number: 1}, nil, at(0)))
	e := ordered(t, `{"a":1}`)
	for _, r := range []*schema.Registry{&none, &others} {
		require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = r.Judge(e, at(10)) }))
	}
}
