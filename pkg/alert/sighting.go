package alert

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// slot is the place that a certificate fills: one certificate follows another in it. Each root of an endpoint's trust
// has a slot of its own.
type slot struct {
	kind    Kind
	subject string
	root    string // the fingerprint; only for a Root
}

func slotOf(c Certificate) slot {
	s := slot{kind: c.Kind, subject: c.Subject}
	if c.Kind == Root {
		s.root = c.Fingerprint
	}
	return s
}

// maxInSlot bounds the certificates of one slot: the servers behind a balancer may present several by turns.
const maxInSlot = 4

// absence is after how long a certificate counts as replaced although it was seen after its successor, as it happens
// while a receiver puts a new one on its servers one after the other.
const absence = day

// sighting is one certificate in a slot.
type sighting struct {
	Certificate

	first, last time.Time // when it was seen
}

// current takes out what was replaced: a certificate gives way to one that was first seen after the last sight of it, or
// that was seen when it had been absent for a day. Which of them is valid for longer does not matter: a receiver may
// move to shorter lifetimes.
func current(all []sighting) []sighting {
	return slices.DeleteFunc(slices.Clone(all), func(old sighting) bool {
		return slices.ContainsFunc(all, func(young sighting) bool {
			return young.first.After(old.last) || !young.last.Before(old.last.Add(absence))
		})
	})
}

// ledger is what the memory keeps of one slot: which certificates have been in it, and what was told of each.
type ledger struct {
	Version      int     `json:"version"`
	Certificates []entry `json:"certificates"` // the newest first
}

type entry struct {
	Fingerprint string    `json:"fingerprint"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	Renews      bool      `json:"renews,omitempty"`
	First       time.Time `json:"first"`
	Told        Step      `json:"told,omitempty"`
}

func parseLedger(value []byte) (ledger, error) {
	var l ledger
	if err := json.Unmarshal(value, &l); err != nil {
		return ledger{}, fmt.Errorf("read what was told about a certificate: %w", err)
	}
	if l.Version != version {
		return ledger{}, errors.New("read what was told about a certificate: not an entry of this version")
	}
	return l, nil
}

// find returns the entry of a certificate, or nil.
func (l *ledger) find(fingerprint string) *entry {
	for i := range l.Certificates {
		if l.Certificates[i].Fingerprint == fingerprint {
			return &l.Certificates[i]
		}
	}
	return nil
}

// add enters a certificate that was not there. Beyond the bound the one that ends first is forgotten: when it is seen
// again, the worst is one alert more.
func (l *ledger) add(s sighting) {
	l.Version = version
	l.Certificates = slices.Insert(l.Certificates, 0, entry{
		Fingerprint: s.Fingerprint, NotBefore: s.NotBefore.UTC(), NotAfter: s.NotAfter.UTC(), Renews: s.Renews, First: s.first.UTC(),
	})
	if len(l.Certificates) > maxInSlot {
		oldest := 1
		for i := 2; i < len(l.Certificates); i++ {
			if l.Certificates[i].NotAfter.Before(l.Certificates[oldest].NotAfter) {
				oldest = i
			}
		}
		l.Certificates = slices.Delete(l.Certificates, oldest, oldest+1)
	}
}

// merge adds what others have seen to what was seen here.
func (l *ledger) merge(s slot, seen []sighting) []sighting {
	for _, e := range l.Certificates {
		i := slices.IndexFunc(seen, func(known sighting) bool { return known.Fingerprint == e.Fingerprint })
		if i >= 0 {
			if e.First.Before(seen[i].first) {
				seen[i].first = e.First
			}
			continue
		}
		c := Certificate{Kind: s.kind, Subject: s.subject, Fingerprint: e.Fingerprint, NotBefore: e.NotBefore, NotAfter: e.NotAfter, Renews: e.Renews}
		if c.Check() == nil {
			seen = append(seen, sighting{Certificate: c, first: e.First, last: e.First})
		}
	}
	return seen
}
