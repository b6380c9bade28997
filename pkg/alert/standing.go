package alert

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// standing is what the memory keeps of one endpoint: the condition that was told last, and what is about to be told.
// Pending alerts are written before they are published and taken out afterwards. So a change that was begun is always
// told to its end, by whichever desk finds it, and always with the same words; and its number is never given to another.
type standing struct {
	Version   int         `json:"version"`
	Change    uint64      `json:"change"`
	Condition Condition   `json:"condition"`
	Since     time.Time   `json:"since"`
	HeldSince time.Time   `json:"held_since,omitzero"` // when the trouble began, whatever it has turned into
	Open      []Condition `json:"open,omitempty"`      // conditions that were told and whose end was not
	Pending   []Alert     `json:"pending,omitempty"`
}

const version = 1

var tracePattern = regexp.MustCompile(`^[0-9a-f]{32}$`)

func parseStanding(value []byte) (standing, error) {
	var s standing
	if err := json.Unmarshal(value, &s); err != nil {
		return standing{}, fmt.Errorf("read what was told about an endpoint: %w", err)
	}
	if s.Version != version || s.Condition == 0 {
		return standing{}, errors.New("read what was told about an endpoint: not an entry of this version")
	}
	return s, nil
}

// Standing is the data of an alert about an endpoint: schemas/alert-endpoint.schema.json.
type Standing struct {
	Tenant   string `json:"tenant"`
	Endpoint string `json:"endpoint"`
	// Outcome is what the endpoint is held by, or was held by until now.
	Outcome Condition `json:"outcome"`
	// Before is what it was held by before this, when one trouble gave way to another.
	Before Condition `json:"before,omitempty"`
	// Held tells whether deliveries wait from now on.
	Held bool `json:"held"`
	// Since is when this began: the trouble, or the health.
	Since time.Time `json:"since"`
	// HeldSince is when the trouble began that is over now.
	HeldSince *time.Time `json:"held_since,omitempty"`
	// Change counts the changes of this endpoint from 1.
	Change uint64 `json:"change"`
	Detail string `json:"detail"`
	Advice string `json:"advice,omitempty"`
	// Server is the certificate that the receiver presented, where one was seen.
	Server *Party `json:"server,omitempty"`
	// Trace is the trace id of the attempt that showed it.
	Trace string `json:"trace,omitempty"`
}

// change returns the standing after a change to another condition, with the alerts that tell it.
func (s standing) change(subject string, to Condition, since, now time.Time, e Evidence) (standing, error) {
	next := standing{Version: version, Change: s.Change + 1, Condition: to, Since: since.UTC()}
	tenant, name, _ := strings.Cut(subject, "/")
	// The time tells apart two changes of one number, which there are when the memory was lost.
	discriminator := strconv.FormatUint(next.Change, 10) + " " + next.Since.Format(time.RFC3339Nano)
	data := Standing{
		Tenant: tenant, Endpoint: name, Held: to.held(), Since: next.Since, Change: next.Change,
		Advice: clip(e.Advice, maxWords), Server: e.Server.clip(),
	}
	if tracePattern.MatchString(e.Trace) {
		data.Trace = e.Trace
	}
	add := func(t Type, outcome Condition, detail string) error {
		data.Outcome, data.Detail = outcome, clip(detail, maxWords)
		alert, err := build(t, subject, discriminator, now, data)
		next.Pending = append(next.Pending, alert)
		return err
	}
	if to.held() {
		next.Open, next.HeldSince = s.Open, s.HeldSince
		if next.HeldSince.IsZero() {
			next.HeldSince = next.Since
		}
		if !slices.Contains(next.Open, to) {
			next.Open = append(slices.Clone(s.Open), to)
		}
		if s.Condition.held() {
			data.Before = s.Condition
		}
		detail := e.Detail
		if detail == "" {
			detail = "Attempts end in " + to.String()
		}
		return next, add(to.begins(), to, detail)
	}
	data.Advice = ""
	held := s.HeldSince
	data.HeldSince = &held
	var errs []error
	for t, outcome := range s.ending() {
		errs = append(errs, add(t, outcome, "Endpoint "+subject+" is well again after "+outcome.String()+"; what waited is going out"))
	}
	slices.SortFunc(next.Pending, func(a, b Alert) int { return strings.Compare(string(a.Type), string(b.Type)) })
	return next, errors.Join(errs...)
}

// ending returns the types of event that end what is open, each with the latest outcome that it ends.
func (s standing) ending() map[Type]Condition {
	ends := make(map[Type]Condition, 2)
	for _, open := range s.Open {
		ends[open.ends()] = open
	}
	return ends
}

// clip bounds a certificate that a stranger has made.
func (p *Party) clip() *Party {
	if p == nil || len(p.Fingerprints) == 0 {
		return nil
	}
	out := &Party{Subject: clip(p.Subject, maxWords), Issuer: clip(p.Issuer, maxWords), NotAfter: p.NotAfter.UTC()}
	for _, name := range p.Names[:min(len(p.Names), maxNames)] {
		out.Names = append(out.Names, clip(name, maxName))
	}
	for _, fingerprint := range p.Fingerprints[:min(len(p.Fingerprints), maxNames)] {
		if !fingerprintPattern.MatchString(fingerprint) {
			return nil
		}
		out.Fingerprints = append(out.Fingerprints, fingerprint)
	}
	return out
}
