package seal_test

import (
	"context"
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

// mirror stands for a KMS. Package kms opens real ones.
type mirror struct{}

func (mirror) Encrypt(_ context.Context, plain []byte) ([]byte, error) { return flip(plain), nil }

func (mirror) Decrypt(_ context.Context, wrapped []byte) ([]byte, error) { return flip(wrapped), nil }

func flip(in []byte) []byte {
	out := make([]byte, len(in))
	for i, b := range in {
		out[i] = ^b
	}
	return out
}

// A wrapped master key lies in a file, and is opened once, when a service starts.
func ExampleWrappedKey() {
	ctx := context.Background()
	master, err := seal.GenerateMasterKey(rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := master.Wrap(ctx, mirror{})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = seal.ParseMasterKey(string(text))
	fmt.Println(err)
	wrapped, err := seal.ParseWrapped(text)
	if err != nil {
		fmt.Println(err)
		return
	}
	opened, err := wrapped.Open(ctx, mirror{})
	fmt.Println(opened.ID() == master.ID(), err)
	// Output:
	// invalid master key: a KMS has wrapped it; name that KMS beside it (--master-key-kms or --identity-key-kms)
	// true <nil>
}
