package alert

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
)

// Limits of what comes from outside, in bytes, so that an alert always fits into a message.
const (
	maxName  = 256
	maxWords = 1024
	maxNames = 20
)

// schemaBase is where the schemas of the data stand; the names are those of package schemas.
const schemaBase = "https://github.com/handfast/handfast/raw/main/schemas/"

// Alert is one operational event before it is published. Its JSON form is how the memory keeps one that is about to be
// told, so that a repeat after a crash is the same to the byte.
type Alert struct {
	// ID is the same for the same news, whoever tells it and however often: a hash of the type, the subject and what
	// tells this news from others of its type (fingerprint and step, number of the change, rotation).
	ID string `json:"id"`
	// Type says what happened.
	Type Type `json:"type"`
	// Subject is what it happened to: an endpoint's key, or the name of an identity or authority.
	Subject string `json:"subject"`
	// Time is when it was noticed.
	Time time.Time `json:"time"`
	// Data is JSON by one of the schemas alert-certificate, alert-endpoint and alert-rotation.
	Data json.RawMessage `json:"data"`
}

// CloudEvent returns the alert as a CloudEvent of one deployment; its source is /handfast/<deployment>.
func (a Alert) CloudEvent(deployment string) (cloudevents.Event, error) {
	e := cloudevents.New(cloudevents.CloudEventsVersionV1)
	e.SetID(a.ID)
	e.SetSource("/handfast/" + deployment)
	e.SetType(string(a.Type))
	e.SetSubject(a.Subject)
	e.SetTime(a.Time)
	e.SetDataSchema(schemaBase + a.Type.schema() + ".schema.json")
	e.SetDataContentType(cloudevents.ApplicationJSON)
	e.DataEncoded = a.Data
	if err := e.Validate(); err != nil {
		return e, fmt.Errorf("alert %s about %s: %w", a.Type, a.Subject, err)
	}
	return e, nil
}

// schema names the schema of the data.
func (t Type) schema() string {
	switch t {
	case ClientCertificateRefused, ClientCertificateAccepted, EndpointHeld, EndpointHealed:
		return "alert-endpoint"
	case RotationStarted, RotationCompleted, RotationRolledBack, RotationStalled:
		return "alert-rotation"
	case IdentityExpiring, IdentityExpired, AuthorityExpiring, AuthorityExpired,
		ServerCertificateExpiring, ServerCertificateExpired, RootExpiring, RootExpired:
		return "alert-certificate"
	}
	return "alert-unknown"
}

// Expiry is the data of an alert about the end of a certificate: schemas/alert-certificate.schema.json.
type Expiry struct {
	Kind        Kind      `json:"kind"`
	Name        string    `json:"name"`
	Fingerprint string    `json:"fingerprint"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	Renews      bool      `json:"renews"`
	// Threshold is how long before NotAfter this alert was due, in seconds; 0 when the certificate has expired.
	Threshold int64 `json:"threshold_seconds"`
	// Left is how long the certificate was valid still when this was noticed, in seconds; negative afterwards.
	Left   int64  `json:"left_seconds"`
	Detail string `json:"detail"`
	Advice string `json:"advice"`
}

// expiryAlert is the alert for a step that has come.
func expiryAlert(c Certificate, due Instant, now time.Time) (Alert, error) {
	kind := c.Kind.expiring()
	detail := what(c) + " expires in " + words(c.NotAfter.Sub(now)) + ", at " + c.NotAfter.UTC().Format(time.RFC3339)
	if due.Step == Expired {
		kind = c.Kind.expired()
		detail = what(c) + " has expired at " + c.NotAfter.UTC().Format(time.RFC3339)
	}
	if c.Renews {
		detail += "; its renewal is overdue"
	}
	return build(kind, c.Subject, fmt.Sprintf("%s %d", c.Fingerprint, due.Step), now, Expiry{
		Kind: c.Kind, Name: c.Subject, Fingerprint: c.Fingerprint, NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(),
		Renews: c.Renews, Threshold: int64(due.Left / time.Second), Left: int64(c.NotAfter.Sub(now) / time.Second),
		Detail: detail, Advice: advice(c),
	})
}

func what(c Certificate) string {
	switch c.Kind {
	case Identity:
		return "The client certificate of identity " + c.Subject
	case Authority:
		return "The certificate of our authority " + c.Subject
	case Server:
		return "The certificate that the receiver of endpoint " + c.Subject + " presents"
	case Root:
		return "A root in the trust of endpoint " + c.Subject
	}
	return "A certificate"
}

func advice(c Certificate) string {
	switch {
	case c.Kind == Identity && c.Renews:
		return "Look into the logs of the dispatchers for why the renewal fails; endpoints are held from the expiry on"
	case c.Kind == Identity:
		return "Install or import its successor and rotate to it (handfast identity rotate); endpoints are held from the expiry on"
	case c.Kind == Authority:
		return "Make a new authority, give its certificate to the receivers, and rotate the identities to it"
	case c.Kind == Root:
		return "Add the successor of this root to the endpoint's tls.trust.roots; both may stand there side by side"
	default:
		return "Ask the receiver to renew it; deliveries wait, and none is lost, while it is expired"
	}
}

// build puts an alert together. The error can only be a defect of the data.
func build(t Type, subject, discriminator string, now time.Time, data any) (Alert, error) {
	text, err := json.Marshal(data)
	if err != nil {
		return Alert{}, fmt.Errorf("write alert %s about %s: %w", t, subject, err)
	}
	return Alert{ID: hash(string(t), subject, discriminator), Type: t, Subject: subject, Time: now.UTC(), Data: text}, nil
}

// hash is the first half of SHA-256 over the parts, each preceded by its length, in hex: 32 characters.
func hash(parts ...string) string {
	var encoded []byte
	for _, part := range parts {
		encoded = binary.BigEndian.AppendUint64(encoded, uint64(len(part)))
		encoded = append(encoded, part...)
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:16])
}

// printable reports whether a text may be a name.
func printable(text string) bool {
	if text == "" || len(text) > maxName || !utf8.ValidString(text) {
		return false
	}
	return !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// clip makes a text from outside printable and short.
func clip(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if len(text) <= most {
		return text
	}
	const dots = "…"
	cut := most - len(dots)
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + dots
}
