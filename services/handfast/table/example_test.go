package table_test

import (
	"fmt"
	"os"

	"github.com/handfast/handfast/services/handfast/table"
)

func ExampleTable() {
	t := table.New(40, table.Column{Name: "ENDPOINT", Whole: true}, table.Column{Name: "URL"}, table.Column{Name: "STATE"})
	t.Row("acme/orders", "https://hooks.acme.example/in", "active")
	t.Row("acme/billing", "https://b.example/", "paused")
	if err := t.Write(os.Stdout); err != nil {
		fmt.Println(err)
	}
	// Output:
	// ENDPOINT      URL                 STATE
	// acme/orders   https://hooks.acm…  active
	// acme/billing  https://b.example/  paused
}
