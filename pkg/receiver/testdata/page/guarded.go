//go:build ignore

// A receiver with Handfast's middleware.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/handfast/handfast/pkg/receiver"
	"github.com/handfast/handfast/pkg/signature"
)

func main() {
	// Or signature.ParsePublic("whpk_…") for scheme v1a; during a rotation the keys of before and after.
	key, err := signature.ParseSecret(signature.V1, os.Getenv("WEBHOOK_SECRET"))
	check(err)
	verifier, err := key.Verifier()
	check(err)
	guard, err := receiver.New(receiver.Options{
		Clients: []string{os.Getenv("CLIENT_SAN")},
		Keys:    []signature.Verifier{verifier},
	})
	check(err) // it lists everything that is wrong

	authority, err := os.ReadFile(os.Getenv("CLIENT_CA"))
	check(err)
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(authority)
	certificate, err := tls.LoadX509KeyPair(os.Getenv("CERT"), os.Getenv("KEY"))
	check(err)
	listener, err := net.Listen("tcp", os.Getenv("LISTEN"))
	check(err)
	fmt.Println("listening on", listener.Addr())
	server := &http.Server{
		Handler:           guard(http.HandlerFunc(handle)),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second, // header and body; the middleware bounds sizes, the server time
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{certificate},
			ClientCAs:    clients, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
		},
	}
	check(server.ServeTLS(listener, "", ""))
}

// handle gets each verified delivery once. Answer 2xx when it is stored; after anything else it comes again.
func handle(w http.ResponseWriter, r *http.Request) {
	delivery, _ := receiver.FromContext(r.Context())
	fmt.Printf("%s: %s\n", delivery.ID, delivery.Body) // your work; delivery.Event() if the body is a CloudEvent
	w.WriteHeader(http.StatusNoContent)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
