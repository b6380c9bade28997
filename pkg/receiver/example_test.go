package receiver_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/handfast/handfast/pkg/receiver"
	"github.com/handfast/handfast/pkg/signature"
)

// A receiver wraps its handler once. The handler sees verified deliveries only.
func ExampleNew() {
	ca, certificate, key, verifier, err := world() // the sender's side, and its CA
	if err != nil {
		fmt.Println(err)
		return
	}
	verified, err := receiver.New(receiver.Options{
		Clients: []string{"webhooks.sender.example"},
		Keys:    []signature.Verifier{verifier},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := serve(ca, tls.RequireAndVerifyClientCert, verified(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		delivery, _ := receiver.FromContext(r.Context())
		fmt.Printf("%s from %s: %s\n", delivery.ID, delivery.ClientSAN, delivery.Body)
		w.WriteHeader(http.StatusNoContent)
	})))
	defer server.Close()
	client := clientOf(server, certificate)

	request, err := signedPost(context.Background(), server.URL, "msg_1", time.Now(), []byte(`{"order":1}`), key)
	if err != nil {
		fmt.Println(err)
		return
	}
	show(client.Do(request))

	unsigned, err := http.NewRequestWithContext(context.Background(), http.MethodPost, server.URL, http.NoBody)
	if err != nil {
		fmt.Println(err)
		return
	}
	show(client.Do(unsigned))
	// Output:
	// msg_1 from webhooks.sender.example: {"order":1}
	// 204
	// 401 {"error":"webhook header missing: webhook-id; the request is not signed by Standard Webhooks, or a proxy removed it"}
}

func show(response *http.Response, err error) {
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		fmt.Println(err)
		return
	}
	if len(text) == 0 {
		fmt.Println(response.StatusCode)
		return
	}
	fmt.Printf("%d %s", response.StatusCode, text)
}
