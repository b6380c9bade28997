package identity_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/seal"
)

// An identity of our own authority: made, put into a book as the bucket would
// put it, and presented.
func Example() {
	master, err := seal.GenerateMasterKey(rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	vault, now := seal.Vault{Current: master}, time.Now()
	ca, err := identity.NewAuthority("main", "Example webhooks", 0, vault, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	record, err := identity.Create("default", ca, identity.Profile{URIs: []string{"spiffe://example.org/handfast"}}, vault, now)
	if err != nil {
		fmt.Println(err)
		return
	}
	entry, err := record.Encode()
	if err != nil {
		fmt.Println(err)
		return
	}

	book := identity.NewBook(vault, identity.BookOptions{})
	book.Put(context.Background(), record.Key(), entry, 1)
	source, found := book.Source("default")
	fmt.Println(record.Key(), found)
	presented, err := source.Identity()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(presented.Leaf().URIs[0], "issued by", presented.Leaf().Issuer)
	// Output:
	// identity.default true
	// spiffe://example.org/handfast issued by CN=Example webhooks
}

// A request whose key never leaves; what the receiver's CA returns is installed.
func ExampleRequest() {
	master, err := seal.GenerateMasterKey(rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	vault := seal.Vault{Current: master}
	record, err := identity.Request("acme", identity.Profile{DNSNames: []string{"hooks.example.org"}}, vault, time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(record)
	_, err = record.Install([]byte(record.RequestPEM()), vault, time.Now())
	fmt.Println(err)
	// Output:
	// client identity "acme" (requested, pending)
	// client identity "acme" cannot be given this certificate: the certificate PEM holds a certificate signing request, not a certificate: send it to the CA and use what comes back
}
