package signature_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net/http"
	"time"

	"github.com/handfast/handfast/pkg/signature"
)

// vaultRoom keeps one private key, as a token does.
type vaultRoom struct{ private ed25519.PrivateKey }

func (v vaultRoom) Sign(_ context.Context, _ string, message []byte) ([]byte, error) {
	return ed25519.Sign(v.private, message), nil
}

// A key that stays in a token signs once it is known whom to ask, and nothing else signs in its place.
func ExampleRing_Bind() {
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	another := ed25519.NewKeyFromSeed([]byte("another seed, of thirty-two byte"))
	public, err := signature.PublicText(signature.V1a, private.Public())
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := signature.KeyInCustody(signature.V1a, "token:pkcs11:token=acme;object=orders?module-path=/lib/p11.so&pin-source=env:PIN", public)
	if err != nil {
		fmt.Println(err)
		return
	}
	key.ID, key.State = "key_1", signature.Active
	ring, err := signature.NewRing(key)
	if err != nil {
		fmt.Println(err)
		return
	}
	request := signature.Request{ID: "msg_1", Time: time.Unix(1614265330, 0), Method: http.MethodPost, URL: "https://example.com/", Body: []byte("{}")}
	for _, custody := range []signature.Custody{vaultRoom{private}, vaultRoom{another}} {
		fields, _, err := signature.Signer{}.Sign(request, []string{signature.V1a}, ring.Bind(context.Background(), custody))
		fmt.Println(len(fields), err)
	}
	// Output:
	// 3 <nil>
	// 0 scheme v1a: sign with key "key_1": the key's custody did not sign: the signature is not one by the registered public key, so it is thrown away; the token holds another key under this name, or is at fault
}
