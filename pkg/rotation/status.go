package rotation

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// Status is how far one endpoint is in one rotation. The zero value is that of an endpoint of which nothing is known.
type Status struct {
	// Rotation is the id of the rotation that the status belongs to; in any other it counts as waiting.
	Rotation string `json:"rotation"`
	Stage    Stage  `json:"stage"`
	Basis    Basis  `json:"basis,omitzero"`
	// Reason says in words why it is at this stage, and Advice what to do about it.
	Reason string `json:"reason,omitempty"`
	Advice string `json:"advice,omitempty"`
	// Since is when it came to this stage.
	Since time.Time `json:"since"`
	// ProbedAt is the end of the last probe, zero when there was none.
	ProbedAt time.Time `json:"probed_at,omitzero"`
	// NextProbe is when it is probed again; zero when it has accepted.
	NextProbe time.Time `json:"next_probe,omitzero"`
	// Probes counts the probes since the document was applied or the endpoint fell.
	Probes int `json:"probes"`
	// Falls counts how often it accepted a probe and then refused a delivery.
	Falls int `json:"falls,omitempty"`
	// PinnedBy is the operator who accepted by hand; empty when nobody did.
	PinnedBy string `json:"pinned_by_operator,omitempty"`
	// Revision is that of the document that was probed: a newer one is probed at once.
	Revision uint64 `json:"revision"`
	// Mark stands for the receiver that was probed ([Mark]): an acceptance is worth nothing for another.
	Mark string `json:"mark"`
}

type statusRecord struct {
	header
	Status
}

// Encode writes the record for [StatusKey]. The error lists everything that is wrong with the status.
func (s Status) Encode() ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("rotation status: %w", err)
	}
	return json.Marshal(statusRecord{header{recordVersion}, s})
}

// ParseStatus reads what Encode writes and nothing else. The error lists everything that is wrong with it.
func ParseStatus(data []byte) (Status, error) {
	var r statusRecord
	if err := decode(data, &r); err != nil {
		return Status{}, fmt.Errorf("rotation status: %w", err)
	}
	if err := errors.Join(r.header.check(), r.Status.check()); err != nil {
		return Status{}, fmt.Errorf("rotation status: %w", err)
	}
	return r.Status, nil
}

func (s Status) check() error {
	var errs []error
	refuse := func(wrong bool, words string) {
		if wrong {
			errs = append(errs, errors.New(words))
		}
	}
	if _, err := s.Stage.MarshalText(); err != nil {
		errs = append(errs, err)
	}
	if _, err := s.Basis.MarshalText(); err != nil && (s.Stage != Waiting || s.Basis != 0) {
		errs = append(errs, err)
	}
	refuse(!rotationPattern.MatchString(s.Rotation), "the rotation's id is not 16 hexadecimal digits")
	refuse(len(s.Reason) > maxWords || len(s.Advice) > maxWords, fmt.Sprintf("reason or advice is longer than %d bytes", maxWords))
	refuse(!utf8.ValidString(s.Reason+s.Advice), "reason or advice is not UTF-8 text")
	refuse(s.Since.IsZero(), "it does not say since when")
	refuse(s.Probes < 0 || s.Falls < 0, "a counter is negative")
	refuse(s.Mark == "" || len(s.Mark) > 64, "the receiver's mark is not 1 to 64 bytes long")
	refuse((s.Stage == Refused || s.Stage == Unreachable) && s.NextProbe.IsZero(), "it does not say when it is probed again")
	refuse((s.Basis == ByHand) != (s.PinnedBy != ""), "the basis by_hand and the operator's name belong together")
	refuse(s.Basis == ByHand && s.Stage != Accepted, "only an acceptance can be decided by hand")
	if s.PinnedBy != "" {
		errs = append(errs, checkPerson("pinned_by_operator", s.PinnedBy))
	}
	return errors.Join(errs...)
}

// of returns the status as it counts in a rotation, for the receiver that stands behind the endpoint now.
func (s Status) of(r *Rotation, mark string) Status {
	if r == nil || s.Rotation != r.ID || s.Mark != mark || s.Stage == 0 {
		return Status{Stage: Waiting, Mark: mark}
	}
	return s
}

// due is when an endpoint is to be probed; ok is false when it is not. The status is one that of returned.
func (s Status) due(t Target) (at time.Time, ok bool) {
	switch s.Stage {
	case Accepted:
		return time.Time{}, false
	case Refused, Unreachable:
		if t.Revision > s.Revision {
			return time.Time{}, true
		}
		return s.NextProbe, true
	case Waiting:
	}
	return time.Time{}, true
}

// judged returns the status after a probe that ended at now. The status is one that of returned.
func (s Status) judged(j Judgement, place string, r *Rotation, t Target, now time.Time) Status {
	now = now.UTC()
	next := Status{
		Rotation: r.ID, Stage: j.Stage, Basis: j.Basis, Reason: clip(j.Reason), Advice: clip(j.Advice),
		Since: now, ProbedAt: now, Probes: s.Probes + 1, Falls: s.Falls, Revision: t.Revision, Mark: t.Mark,
	}
	if t.Revision > s.Revision {
		next.Probes = 1 // a new document is news, and the waits begin anew
	}
	if s.Stage == j.Stage {
		next.Since = s.Since
	}
	if j.Stage != Accepted {
		next.NextProbe = now.Add(Backoff(next.Probes+next.Falls, r.ID, place))
	}
	return next
}

// fell returns the status after an attempt under the next identity was refused.
func (s Status) fell(f Fall, place string, now time.Time) Status {
	now = now.UTC()
	s.Stage, s.Basis, s.Reason, s.Advice = Refused, f.Basis, clip(f.Reason), clip(f.Advice)
	s.Since, s.PinnedBy, s.Probes = now, "", 0
	s.Falls++
	s.NextProbe = now.Add(Backoff(s.Falls, s.Rotation, place))
	return s
}
