//go:build ignore

// A receiver with the official library for Go and nothing of Handfast's.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

func main() {
	webhook, err := standardwebhooks.NewWebhook(os.Getenv("WEBHOOK_SECRET"))
	check(err)
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
		Handler:           receiver{webhook: webhook, client: os.Getenv("CLIENT_SAN"), seen: &seen{ids: map[string]time.Time{}}},
		ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{certificate},
			ClientCAs:    clients, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
		},
	}
	check(server.ServeTLS(listener, "", ""))
}

type receiver struct {
	webhook *standardwebhooks.Webhook
	client  string
	seen    *seen
}

func (h receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !named(r.TLS.VerifiedChains[0][0], h.client) {
		w.WriteHeader(495) // the certificate is the trouble, not the message
		return
	}
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	if err := h.webhook.Verify(body, r.Header); err != nil { // the bytes as they came, before any parser
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if id := r.Header.Get("webhook-id"); h.seen.first(id) {
		fmt.Printf("%s: %s\n", id, body) // your work; when it fails, forget the id and answer 500
	}
	w.WriteHeader(http.StatusNoContent)
}

// named compares a URI of the certificate whole. Never search in its subject.
func named(certificate *x509.Certificate, want string) bool {
	for _, uri := range certificate.URIs {
		if uri.String() == want {
			return true
		}
	}
	return false
}

// seen remembers ids for four days, longer than Handfast retries. Several processes need a shared store, with an expiry.
type seen struct {
	mu  sync.Mutex
	ids map[string]time.Time
}

func (s *seen) first(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for old, at := range s.ids {
		if time.Since(at) > 96*time.Hour {
			delete(s.ids, old)
		}
	}
	_, known := s.ids[id]
	s.ids[id] = time.Now()
	return !known
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
