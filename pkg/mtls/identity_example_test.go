package mtls_test

import (
	"fmt"
	"time"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
)

func ExampleNewIdentity() {
	ca, err := authority.New("Example CA")
	if err != nil {
		fmt.Println(err)
		return
	}
	certificate, _, err := ca.Server("receiver.example") // the wrong kind of certificate
	if err != nil {
		fmt.Println(err)
		return
	}
	_, key, err := ca.Client("spiffe://example/dispatcher") // and another one's key
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = mtls.NewIdentity("acme", certificate, key, time.Now())
	fmt.Println(err)
	// Output:
	// client identity "acme" cannot be used: the private key does not belong to certificate "CN=receiver.example"; certificate "CN=receiver.example" may not be used as a client certificate: its extended key usage lacks clientAuth; have it issued for TLS client authentication
}

func ExampleAddressPolicy_Check() {
	policy, err := mtls.ParseAddressPolicy([]string{"10.20.0.0/16"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, address := range []string{"93.184.215.14", "10.20.0.7", "10.21.0.7", "::ffff:169.254.169.254"} {
		fmt.Println(address, "→", policy.Check(mustAddr(address)))
	}
	// Output:
	// 93.184.215.14 → <nil>
	// 10.20.0.7 → <nil>
	// 10.21.0.7 → address 10.21.0.7 is forbidden: it is a private address; if this receiver is meant to be there, add its range to the allowed addresses
	// ::ffff:169.254.169.254 → address ::ffff:169.254.169.254 is forbidden: it is the metadata service of a cloud, which hands out credentials; if this receiver is meant to be there, add exactly this address to the allowed ones
}
