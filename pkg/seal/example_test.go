package seal_test

import (
	"crypto/rand"
	"fmt"

	"github.com/handfast/handfast/pkg/seal"
)

// Sealed bytes open in their own place only.
func ExampleVault() {
	master, err := seal.GenerateMasterKey(rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	vault := seal.Vault{Current: master}
	sealed, err := vault.Seal("identity.default", []byte("the key"))
	if err != nil {
		fmt.Println(err)
		return
	}
	opened, err := vault.Open("identity.default", sealed)
	fmt.Println(string(opened), err)
	_, err = vault.Open("identity.other", sealed)
	fmt.Println(err)
	// Output:
	// the key <nil>
	// sealed data is damaged or belongs to another place: it does not open for "identity.other"; restore it from a backup, or create it anew
}
