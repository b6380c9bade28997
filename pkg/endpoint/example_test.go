package endpoint_test

import (
	"fmt"

	"github.com/handfast/handfast/pkg/endpoint"
)

func ExampleParse() {
	e, err := endpoint.Parse([]byte(`
tenant: acme
name: orders
url: https://Hooks.example.com/in
filter:
  types: ["com.acme.order.*"]
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(e.Key(), e.Authority(), e.Signature.Schemes, e.TLS.Mutual, len(e.Retry.Schedule)+1, "attempts")
	// Output: acme/orders hooks.example.com:443 [v1 v1a] required 10 attempts
}

func ExampleParse_invalid() {
	_, err := endpoint.Parse([]byte(`
tenant: acme
name: Orders
url: http://hooks.example.com/in
fliter:
  types: ["com.acme.order.*"]
tls:
  revocation: strict
`))
	fmt.Println(err)
	// Output:
	// the endpoint document has 4 problems:
	//   fliter: is not a field of an endpoint; did you mean filter?
	//   name: "Orders" is not allowed: use 1 to 63 lower-case letters, digits or hyphens, with a letter or digit at both ends
	//   tls.revocation: is not a field of an endpoint; did you mean tls.trust.revocation?
	//   url: must begin with https://, because a message leaves only over TLS
}

func ExampleEndpoint_Match() {
	e, err := endpoint.Parse([]byte(`
tenant: acme
name: large-orders
url: https://hooks.example.com/in
filter:
  types: ["com.acme.order.**"]
  cesql: amount > 100
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(e.Match(event{kind: "com.acme.order.created", extensions: map[string]any{"amount": 250}}))
	fmt.Println(e.Match(event{kind: "com.acme.invoice.sent", extensions: map[string]any{"amount": 250}}))
	_, err = e.Match(event{kind: "com.acme.order.created"})
	fmt.Println(err)
	// Output:
	// true <nil>
	// false <nil>
	// endpoint acme/large-orders: the filter "amount > 100" failed, so the event is not delivered to it: the event has no attribute amount (guard it with EXISTS amount AND …): missing attribute error: amount
}

func ExampleRegistry() {
	var registry endpoint.Registry
	key := endpoint.Key{Tenant: "acme", Name: "orders"}
	e, err := endpoint.Parse([]byte("tenant: acme\nname: orders\nurl: https://hooks.example.com/in\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	registry.Put(e, 1)
	registry.SetStatus(key, endpoint.Status{Disabled: &endpoint.Disabled{Reason: "410 Gone", Revision: 1}})
	for _, each := range registry.Tenant("acme") {
		fmt.Println(each, "disabled:", each.Disabled())
	}
	registry.Put(e, 2) // applied again
	again, _ := registry.Get(key)
	fmt.Println(again, "disabled:", again.Disabled())
	// Output:
	// acme/orders disabled: true
	// acme/orders disabled: false
}
