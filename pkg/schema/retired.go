package schema

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Retirement is what stands under [Name.RetiredKey]: when a version was deleted, and when it was restored. It is kept when a
// version is restored, so that what was published in between is never judged by it, not even at a later attempt.
type Retirement struct {
	// At is when the version was deleted; zero for one that was restored.
	At time.Time
	// Gaps are the times from a deletion to the restoring after it, the earliest first.
	Gaps []Gap
}

// Gap is a time in which a version was deleted.
type Gap struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to,omitzero"`
}

// retirement is the stored form. Times come from the broker, which tells when it has stored an entry only afterwards: so
// the entry's own time is the deletion, or the end of the last gap of one that was restored.
type retirement struct {
	Gaps     []Gap `json:"gaps,omitempty"`
	Restored bool  `json:"restored,omitempty"`
}

// ReadRetirement takes it out of the bucket. An entry of somebody else's hand is a deletion.
func ReadRetirement(value []byte, stored time.Time) Retirement {
	var r retirement
	if err := json.Unmarshal(value, &r); err != nil {
		return Retirement{At: stored}
	}
	if !r.Restored || len(r.Gaps) == 0 {
		return Retirement{At: stored, Gaps: r.Gaps}
	}
	r.Gaps[len(r.Gaps)-1].To = stored
	return Retirement{Gaps: r.Gaps}
}

// Delete writes the deletion of a version that has been through this much.
func (r Retirement) Delete() ([]byte, error) { return encodeRetirement(retirement{Gaps: r.Gaps}) }

// Restore writes that the version is restored.
func (r Retirement) Restore() ([]byte, error) {
	return encodeRetirement(retirement{Gaps: append(slices.Clip(r.Gaps), Gap{From: r.At}), Restored: true})
}

func encodeRetirement(r retirement) ([]byte, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("write the deletion of a schema: %w", err)
	}
	return data, nil
}
