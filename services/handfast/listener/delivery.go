package listener

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/handfast/handfast/pkg/signature"
)

// What is known about a signature.
const (
	// Verified: one of the endpoint's keys made it, over exactly these bytes, and now.
	Verified = "verified"
	// Unverified: it does not hold, or could not be checked.
	Unverified = "unverified"
	// Unchecked: no keys were asked for.
	Unchecked = "unchecked"
)

// Delivery is one request, shown after its answer.
type Delivery struct {
	At time.Time `json:"at"`
	// ID is the webhook-id; Count is how often it has come here, this time included.
	ID    string `json:"id"`
	Count int    `json:"count"`
	// Type, Source and Event are those of the CloudEvent in the body.
	Type   string `json:"type,omitempty"`
	Source string `json:"source,omitempty"`
	Event  string `json:"event,omitempty"`
	// Client is the name in the caller's certificate.
	Client    string `json:"client"`
	Signature string `json:"signature"`
	// Key names what verified, as scheme=id.
	Key string `json:"key,omitempty"`
	// Reason says in words why a signature is not verified.
	Reason string `json:"reason,omitempty"`
	Status int    `json:"status"`
	// Took is from the first byte to the answer.
	Took time.Duration `json:"took_ns"`
	// Bytes is the size of the body; Data its JSON, when it is JSON.
	Bytes int             `json:"bytes"`
	Data  json.RawMessage `json:"body,omitempty"`
	Trace string          `json:"traceparent,omitempty"`
	// Handshake is the one of the connection; its time and the caller's address were told when it happened.
	Handshake *Handshake `json:"handshake,omitempty"`
}

// maxBody bounds what is read of a request, in bytes.
const maxBody = 4 << 20

func (l *Listener) serve(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	d := Delivery{At: began.UTC(), ID: r.Header.Get(signature.HeaderID), Trace: r.Header.Get("traceparent")}
	if reason := l.identify(r, &d); reason != "" {
		l.refuse(w, &d, began, statusCertificate, reason)
		return
	}
	if l.consent(w, r, d.Client) {
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		l.refuse(w, &d, began, http.StatusBadRequest, "the body did not arrive whole: "+err.Error())
		return
	}
	d.Bytes = len(body)
	var about struct {
		Type   string `json:"type"`
		Source string `json:"source"`
		ID     string `json:"id"`
	}
	if json.Valid(body) {
		d.Data = body
		_ = json.Unmarshal(body, &about) // what is no object has no attributes
	}
	d.Type, d.Source, d.Event = about.Type, about.Source, about.ID
	d.Count = l.count(d.ID)
	if status, reason := l.verify(r, body, &d); status != 0 {
		l.refuse(w, &d, began, status, reason)
		return
	}
	select {
	case <-time.After(l.options.Delay):
	case <-r.Context().Done():
		l.refuse(w, &d, began, http.StatusServiceUnavailable, "the caller hung up, or listening ended, before the answer")
		return
	}
	d.Status = l.status()
	l.echo(w, r)
	w.WriteHeader(d.Status)
	l.show(d, began)
}

// statusCertificate is what nginx calls a certificate error: whoever sends knows that nothing is wrong with the delivery.
const statusCertificate = 495

// identify looks again, for every request: a connection can live longer than the certificate that opened it. It gives a
// reason when the request must be refused.
func (l *Listener) identify(r *http.Request, d *Delivery) (reason string) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return "the caller has no verified certificate"
	}
	h := l.describe(*r.TLS)
	h.Remote = r.RemoteAddr
	d.Handshake = &h
	leaf := r.TLS.VerifiedChains[0][0]
	name, err := l.caller(leaf)
	switch {
	case err != nil:
		return err.Error()
	case d.At.After(leaf.NotAfter):
		return "the caller's certificate has ended since the connection began; open a new one with another certificate"
	}
	d.Client = name
	return ""
}

// maxSeen bounds how many ids are counted; then counting begins anew.
const maxSeen = 100_000

func (l *Listener) count(id string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.seen) >= maxSeen {
		clear(l.seen)
	}
	l.seen[id]++
	return l.seen[id]
}

// status takes the next answer.
func (l *Listener) status() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	status := l.options.Statuses[min(l.answered, len(l.options.Statuses)-1)]
	l.answered++
	return status
}

func (l *Listener) refuse(w http.ResponseWriter, d *Delivery, began time.Time, status int, reason string) {
	d.Status, d.Reason = status, reason
	if d.Signature == "" {
		d.Signature = Unverified
	}
	http.Error(w, reason, status)
	l.show(*d, began)
}

func (l *Listener) show(d Delivery, began time.Time) {
	d.Took = time.Since(began)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.options.Show(d)
}

// verify gives a status other than 0 when the request must be refused.
func (l *Listener) verify(r *http.Request, body []byte, d *Delivery) (status int, reason string) {
	if l.options.Keys == nil {
		d.Signature, d.Reason = Unchecked, "give --endpoint TENANT/NAME to have it checked"
		return 0, ""
	}
	d.Signature = Unverified
	for _, again := range []bool{false, true} {
		keys, err := l.verifiers(r, again)
		if err != nil {
			return http.StatusServiceUnavailable, "the keys could not be read: " + err.Error()
		}
		verified, err := signature.VerifyStandard(r.Header, body, keys, time.Now(), 0)
		if err == nil {
			d.Signature, d.Key = Verified, verified.Scheme+"="+verified.KeyID
			return 0, ""
		}
		if !errors.Is(err, signature.ErrNoMatch) && !errors.Is(err, signature.ErrNoVerifier) {
			return http.StatusUnauthorized, err.Error()
		}
		reason = err.Error()
	}
	return http.StatusUnauthorized, reason
}

// verifiers gives the keys that are known, or with fresh asks for them again when that was not done a moment ago.
func (l *Listener) verifiers(r *http.Request, fresh bool) ([]signature.Verifier, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.keys != nil && l.problem == nil
	if (known && !fresh) || time.Since(l.asked) < time.Second {
		return l.keys, l.problem
	}
	l.keys, l.problem = l.options.Keys(r.Context())
	l.asked = time.Now()
	return l.keys, l.problem
}
