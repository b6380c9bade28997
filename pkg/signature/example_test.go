package signature_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"time"

	"github.com/handfast/handfast/pkg/signature"
)

// A request is signed with both schemes, and a receiver that holds nothing but
// the public key verifies it.
func ExampleSigner_Sign() {
	shared, err := signature.ParseSecret(signature.V1, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		fmt.Println(err)
		return
	}
	pair, err := signature.ParseSecret(signature.V1a, "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=")
	if err != nil {
		fmt.Println(err)
		return
	}
	shared.ID, shared.State = "shared-2021", signature.Active
	pair.ID, pair.State = "pair-2021", signature.Active
	ring, err := signature.NewRing(shared, pair)
	if err != nil {
		fmt.Println(err)
		return
	}
	body := []byte(`{"test": 2432232314}`)
	now := time.Unix(1614265330, 0)
	request := signature.Request{ID: "msg_p5jXN8AQM9LWM0D4loKWxJek", Time: now, Body: body}
	fields, used, err := signature.Signer{}.Sign(request, []string{signature.V1, signature.V1a}, ring)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("signed with", used)

	header := http.Header{}
	for _, f := range fields {
		header.Set(f.Name, f.Value)
	}
	public, err := signature.ParsePublic(pair.Public())
	if err != nil {
		fmt.Println(err)
		return
	}
	verified, err := signature.VerifyStandard(header, body, []signature.Verifier{public}, now.Add(time.Minute), signature.DefaultTolerance)
	fmt.Println(verified.ID, verified.Scheme, err)

	_, err = signature.VerifyStandard(header, body, []signature.Verifier{public}, now.Add(6*time.Minute), signature.DefaultTolerance)
	fmt.Println(err)
	// Output:
	// signed with [{v1 shared-2021} {v1a pair-2021}]
	// msg_p5jXN8AQM9LWM0D4loKWxJek v1a <nil>
	// webhook timestamp too old: signed 6m0s ago, allowed are 5m0s; it is a replay, it was held up, or one of the clocks is wrong
}

// A key does not show its secret, however it is printed.
func ExampleKey() {
	key, err := signature.ParseSecret(signature.V1, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		fmt.Println(err)
		return
	}
	key.ID = "imported"
	fmt.Printf("%+v\n", key)
	fmt.Println(key.Reveal())
	// Output:
	// key imported (scheme v1, next, secret [redacted])
	// whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
}

// A sealed ring opens for its own endpoint only.
func ExampleVault() {
	master, err := signature.GenerateMasterKey(rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	vault := signature.Vault{Current: master}
	sealed, err := vault.Seal(signature.Ring{}, "acme.orders")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = vault.Open("acme.orders", sealed)
	fmt.Println(err)
	_, err = vault.Open("acme.invoices", sealed)
	fmt.Println(err)
	// Output:
	// <nil>
	// open keys: sealed data is damaged or belongs to another place: it does not open for "acme.invoices"; restore it from a backup, or create it anew
}
