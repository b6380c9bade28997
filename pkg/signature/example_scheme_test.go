package signature_test

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/signature"
)

// A receiver of Stripe's format, with the secret as Stripe shows it.
func ExampleVerify() {
	key, err := signature.ParseSecret(signature.Stripe, "whsec_test_secret")
	if err != nil {
		fmt.Println(err)
		return
	}
	verifier, err := key.Verifier()
	if err != nil {
		fmt.Println(err)
		return
	}
	header := http.Header{}
	header.Set("Stripe-Signature", "t=1700000000,v1=248a374f50f943a28b0f6ab50faf9a7e7e29b710fa26df9fb1618b9bf8ea9c9a")
	arrived := signature.Received{
		Method: http.MethodPost, Authority: "example.com", Target: "/in", // http.Request's Method, Host and RequestURI
		Header: header, Body: []byte(`{"id":"evt_1"}`),
	}
	now := time.Unix(1700000060, 0)
	verified, err := signature.Verify(signature.Stripe, arrived, []signature.Verifier{verifier}, now, signature.DefaultTolerance)
	fmt.Println(verified.Time.UTC(), err)

	arrived.Body = []byte(`{"id":"evt_2"}`)
	_, err = signature.Verify(signature.Stripe, arrived, []signature.Verifier{verifier}, now, signature.DefaultTolerance)
	fmt.Println(err)
	// Output:
	// 2023-11-14 22:13:20 +0000 UTC <nil>
	// no matching webhook signature: signed with another key, or the request was changed on the way (verify the bytes as received, before any parser)
}

// Twilio's format changes the URL that the request goes to.
func ExampleQuery() {
	key, err := signature.ParseSecret(signature.Twilio, "12345")
	if err != nil {
		fmt.Println(err)
		return
	}
	key.State = signature.Active
	ring, err := signature.NewRing(key)
	if err != nil {
		fmt.Println(err)
		return
	}
	schemes := []string{signature.Twilio}
	request := signature.Request{
		ID: "msg_1", Time: time.Unix(1700000000, 0), Method: http.MethodPost, URL: "https://mycompany.com/myapp.php?foo=1&bar=2",
		Body: []byte(`{"property": "value", "boolean": true}`),
	}
	query, err := signature.Query(request, schemes)
	if err != nil {
		fmt.Println(err)
		return
	}
	request.URL = signature.Extend(request.URL, query)
	fields, _, err := signature.Signer{}.Sign(request, schemes, ring)
	fmt.Println("POST", request.URL)
	fmt.Println(fields[0].Name, fields[0].Value, err)
	fmt.Println(signature.Weak(signature.Twilio) != "")
	// Output:
	// POST https://mycompany.com/myapp.php?foo=1&bar=2&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620
	// x-twilio-signature a9nBmqA0ju/hNViExpshrM61xv4= <nil>
	// true
}

// A header of one's own, for receivers that exist already.
func ExampleTemplate() {
	key, err := signature.ParseSecret(signature.TemplateScheme, "a secret that both sides know")
	if err != nil {
		fmt.Println(err)
		return
	}
	key.State = signature.Active
	ring, err := signature.NewRing(key)
	if err != nil {
		fmt.Println(err)
		return
	}
	signer := signature.Signer{Template: signature.Template{Header: "X-Acme-Signature", Content: "{timestamp}.{body}", Prefix: "sha256=", TimestampHeader: "X-Acme-Time"}}
	fields, _, err := signer.Sign(signature.Request{ID: "msg_1", Time: time.Unix(1700000000, 0), Body: []byte("{}")}, []string{signature.TemplateScheme}, ring)
	for _, f := range fields {
		name, _, _ := strings.Cut(f.Value, "=")
		fmt.Println(f.Name, name)
	}
	fmt.Println(err)
	fmt.Println(signature.Template{Header: "X-Acme-Signature", Content: "{id}{body}"}.Validate())
	// Output:
	// x-acme-signature sha256
	// x-acme-time 1700000000
	// <nil>
	// template.content needs a separator between two placeholders that starts and ends with something else than letters, digits, '_' and '-', such as a full stop or a colon
}
