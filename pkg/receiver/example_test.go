package receiver_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
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

// Behind a proxy that ends TLS, the certificate comes in a header: from the proxy only, and verified again.
func ExampleTerminator() {
	ca, certificate, _, verifier, err := world()
	if err != nil {
		fmt.Println(err)
		return
	}
	verified, err := receiver.New(receiver.Options{
		Clients: []string{"webhooks.sender.example"},
		Keys:    []signature.Verifier{verifier},
		Terminator: &receiver.Terminator{
			Form:  receiver.RFC9440,
			Hops:  []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")},
			Roots: ca.pool,
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, from := range []string{"10.0.0.7:4711", "203.0.113.9:4711"} {
		request := httptest.NewRequest(http.MethodOptions, "/", http.NoBody)
		request.RemoteAddr = from
		request.Header.Set("Client-Cert", ":"+base64.StdEncoding.EncodeToString(certificate.Certificate[0])+":")
		recorder := httptest.NewRecorder()
		verified(http.NotFoundHandler()).ServeHTTP(recorder, request)
		fmt.Println(from, recorder.Code)
	}
	// Output:
	// 10.0.0.7:4711 204
	// 203.0.113.9:4711 495
}
