package alert

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
)

const day = 24 * time.Hour

// shortLife is the longest lifetime for which the steps are shares of the life and not days: with steps in days a
// certificate of a month would be born into an alert.
const shortLife = 45 * day

var fingerprintPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Certificate is one certificate whose end is watched.
type Certificate struct {
	// Kind says what the certificate is to us.
	Kind Kind
	// Subject is whose it is: the name of an identity or authority, or the key of an endpoint ("tenant/name").
	Subject string
	// Fingerprint is its SHA-256 in lower-case hex, 64 characters.
	Fingerprint string
	// NotBefore and NotAfter are its validity (RFC 5280, section 4.1.2.5); NotAfter still belongs to it.
	NotBefore, NotAfter time.Time
	// Renews tells that something of ours replaces it in time by itself, such as a leaf of our own CA. The end of such
	// a certificate is news only when its renewal is overdue.
	Renews bool
}

// Check returns everything that keeps a certificate from being watched.
func (c Certificate) Check() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	switch {
	case c.Kind.String() == "unknown":
		bad("kind %d is not in the closed list", c.Kind)
	case c.Kind.ofEndpoint():
		if _, err := endpoint.ParseKey(c.Subject); err != nil {
			bad("subject: %w", err)
		}
	case !printable(c.Subject):
		bad("subject %q is not a name: 1 to %d printable characters", clip(c.Subject, maxName), maxName)
	}
	if !fingerprintPattern.MatchString(c.Fingerprint) {
		bad("fingerprint %q is not the SHA-256 of a certificate: 64 lower-case hex digits", clip(c.Fingerprint, maxName))
	}
	if !c.NotAfter.After(c.NotBefore) || c.NotBefore.IsZero() {
		bad("it is valid from %s to %s, which is no time at all", c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339))
	}
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("the certificate of %s %q cannot be watched: %w", c.Kind, clip(c.Subject, maxName), errors.Join(problems...))
}

// Step is one of the instants at which the end of a certificate is news. They are ordered: a larger one is more
// urgent. The zero Step is none of them.
type Step uint8

// The steps. What each means depends on the certificate, see [Certificate.Steps].
const (
	// FirstStep is 30 days before the end, or a third of a short life.
	FirstStep Step = iota + 1
	// SecondStep is 14 days before the end, or a sixth of a short life.
	SecondStep
	// ThirdStep is 7 days before the end, or a twelfth of a short life.
	ThirdStep
	// LastStep is a day before the end, or a twenty-fourth of a short life where that is less.
	LastStep
	// Expired is the first second in which the certificate is not valid any more.
	Expired
)

// Instant is a step at its time.
type Instant struct {
	Step Step
	At   time.Time
	// Left is how long the certificate is still valid from At on; 0 for Expired.
	Left time.Duration
}

// Steps returns the instants at which the end of the certificate is news, in their order.
//
//	lifetime         steps before the end
//	───────────────  ───────────────────────────────────────────────────────────────
//	over 45 days     30, 14, 7 and 1 days
//	up to 45 days    1/3, 1/6 and 1/12 of the lifetime, and 1/24 of it or 1 day,
//	                 whichever is less
//	any, and Renews  those of the above that are within 1/6 of the lifetime
//
// Renewal is due when a third of the lifetime is left. Half of that time is for trying; when it has passed, at 1/6,
// renewal is overdue and people should know.
func (c Certificate) Steps() []Instant {
	life := c.NotAfter.Sub(c.NotBefore)
	before := [...]time.Duration{30 * day, 14 * day, 7 * day, day}
	if life <= shortLife {
		before = [...]time.Duration{life / 3, life / 6, life / 12, min(day, life/24)}
	}
	steps := make([]Instant, 0, len(before)+1)
	for i, left := range before {
		if c.Renews && left > life/6 {
			continue
		}
		steps = append(steps, Instant{Step: FirstStep + Step(i), At: c.NotAfter.Add(-left), Left: left})
	}
	return append(steps, Instant{Step: Expired, At: c.NotAfter.Add(time.Second)})
}

// Due returns the most urgent step that has come, which is the only one worth telling; ok is false before the first.
func (c Certificate) Due(now time.Time) (due Instant, ok bool) {
	for _, step := range c.Steps() {
		if now.Before(step.At) {
			break
		}
		due, ok = step, true
	}
	return due, ok
}

// Next returns the first step that is still to come; ok is false when the certificate has expired.
func (c Certificate) Next(now time.Time) (next Instant, ok bool) {
	for _, step := range c.Steps() {
		if now.Before(step.At) {
			return step, true
		}
	}
	return Instant{}, false
}

// words says a duration as a person would: in days from two days on, in hours from two hours on.
func words(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d >= 2*day:
		return strconv.Itoa(int(d.Round(time.Hour)/day)) + " days"
	case d >= 2*time.Hour:
		return strconv.Itoa(int(d.Round(time.Minute)/time.Hour)) + " hours"
	case d >= 2*time.Minute:
		return strconv.Itoa(int(d.Round(time.Second)/time.Minute)) + " minutes"
	default:
		return strconv.Itoa(int(d/time.Second)) + " seconds"
	}
}
