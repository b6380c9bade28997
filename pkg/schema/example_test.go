package schema_test

import (
	"fmt"

	"github.com/handfast/handfast/pkg/schema"
)

// Everything that is wrong is told, place by place.
func ExampleCompile() {
	order, err := schema.Compile([]byte(`{
		"type": "object",
		"required": ["id", "total"],
		"properties": {"id": {"type": "string"}, "total": {"type": "number", "minimum": 0}}
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, problem := range order.Check([]byte(`{"total": -1, "id": 7}`)) {
		fmt.Println(problem)
	}
	// Output:
	// data/id: is a number, and must be text
	// data/total: must be at least 0
}

func ExampleName_URI() {
	name := schema.Name{Kind: schema.Kind{Tenant: "acme", Type: "com.acme.order.created"}, Number: 2}
	fmt.Println(name.URI(""))
	fmt.Println(name.URI("https://schemas.example.com"))
	// Output:
	// urn:handfast:schema:acme:com.acme.order.created:2
	// https://schemas.example.com/schemas/acme/com.acme.order.created/2
}
