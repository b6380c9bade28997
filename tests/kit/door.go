package kit

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Refusal is the way in which a receiver turns an identity away that it does not accept.
type Refusal uint8

// The ways, as real receivers have them.
const (
	// ByAlert ends the handshake.
	ByAlert Refusal = iota + 1
	// ByForbidding answers 403 to every request.
	ByForbidding
	// ByPage lets the handshake through and answers 400 with nginx's page.
	ByPage
	// ByPageToPosts is ByPage, but only for messages: a probe goes through.
	ByPageToPosts
	// ByForbiddingPosts is ByForbidding, but only for messages.
	ByForbiddingPosts
)

const certificatePage = "<html>\r\n<head><title>400 The SSL certificate error</title></head>\r\n<body>\r\n<center><h1>400 Bad Request</h1></center>\r\n<center>The SSL certificate error</center>\r\n</body>\r\n</html>\r\n"

// Door stands before a receiver, lets some identities in, and counts. All of it may be changed at any time.
type Door struct {
	// Pause is how long it takes to turn a request away. Set it before anything is sent.
	Pause time.Duration

	refusal Refusal

	mu     sync.Mutex
	names  []string
	shakes map[string]int
	turned map[string]int
}

// NewDoor makes a door that turns all but the given names away, in one way.
func NewDoor(refusal Refusal, names ...string) *Door {
	return &Door{refusal: refusal, names: names, shakes: make(map[string]int), turned: make(map[string]int)}
}

// Accept replaces the names that are let in.
func (d *Door) Accept(names ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.names = names
}

// Handshakes counts the handshakes under a name that came to their end, well or not.
func (d *Door) Handshakes(name string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.shakes[name]
}

// TurnedAway counts the messages that came under a name and were not let in.
func (d *Door) TurnedAway(name string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.turned[name]
}

// TLS is the option that makes a receiver count handshakes and refuse by alert.
func (d *Door) TLS(c *tls.Config) {
	c.VerifyConnection = func(state tls.ConnectionState) error {
		name := clientName(&state)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.shakes[name]++
		if d.refusal == ByAlert && !slices.Contains(d.names, name) {
			return errors.New("this client is not let in")
		}
		return nil
	}
}

// Handler is the part of the door behind the handshake.
func (d *Door) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, message := clientName(r.TLS), r.Method == http.MethodPost
		d.mu.Lock()
		in := slices.Contains(d.names, name)
		if !in && (d.refusal == ByPageToPosts || d.refusal == ByForbiddingPosts) && !message {
			in = true
		}
		if !in && message {
			d.turned[name]++
		}
		d.mu.Unlock()
		if in {
			next.ServeHTTP(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		<-time.After(d.Pause)
		switch d.refusal {
		case ByPage, ByPageToPosts:
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, certificatePage)
		case ByAlert, ByForbidding, ByForbiddingPosts:
			w.WriteHeader(http.StatusForbidden)
		}
	})
}

// Guarded is Receiver with a door before it, which OPTIONS has to pass, too.
func (w *World) Guarded(host string, door *Door, handler http.Handler, options ...func(*tls.Config)) *Receiver {
	w.T.Helper()
	return w.receiver(host, handler, door.Handler, append([]func(*tls.Config){door.TLS}, options...)...)
}

func clientName(state *tls.ConnectionState) string {
	if state == nil || len(state.PeerCertificates) == 0 || len(state.PeerCertificates[0].URIs) == 0 {
		return ""
	}
	return state.PeerCertificates[0].URIs[0].String()
}

// Names counts a receiver's messages by the name of the client.
func (r *Receiver) Names() map[string]int {
	count := make(map[string]int)
	for _, hit := range r.Hits() {
		count[hit.Client]++
	}
	return count
}

// NamesSince is Names of the messages that arrived after a moment.
func (r *Receiver) NamesSince(at time.Time) map[string]int {
	count := make(map[string]int)
	for _, hit := range r.Hits() {
		if hit.At.After(at) {
			count[hit.Client]++
		}
	}
	return count
}
