package authority_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"github.com/handfast/handfast/pkg/mtls/authority"
)

func Example() {
	root, err := authority.New("Example development CA")
	if err != nil {
		fmt.Println(err)
		return
	}
	intermediate, err := root.Intermediate("Example issuing CA")
	if err != nil {
		fmt.Println(err)
		return
	}
	certificates, _, err := intermediate.Server("receiver.example", "192.0.2.7")
	if err != nil {
		fmt.Println(err)
		return
	}
	for block, rest := pem.Decode(certificates); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(c.Subject, c.DNSNames, c.IPAddresses, "issued by", c.Issuer)
	}
	// Output:
	// CN=receiver.example [receiver.example] [192.0.2.7] issued by CN=Example issuing CA
	// CN=Example issuing CA [] [] issued by CN=Example development CA
}
