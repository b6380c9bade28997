package rotation

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
)

// stalledAfter is how long a rotation may go without a new acceptance before somebody should look at it.
const stalledAfter = 24 * time.Hour

// Progress is how far a rotation is: for `rotate status`, metrics and alerts.
type Progress struct {
	// Identity is the name in the documents, Uses what it stands for, and To the next one; empty without a rotation.
	Identity, Uses, To string
	// Rotation is nil when there is none; the lists are then empty.
	Rotation *Rotation
	// The live endpoints by stage, each list sorted by the endpoint's key.
	Accepted, Refused, Unreachable, Waiting []Line
	// AcceptedAt is when the last endpoint that is accepted now was; zero when none is.
	AcceptedAt time.Time
}

// Line is one endpoint with its status in this rotation.
type Line struct {
	Endpoint endpoint.Key
	Status   Status
}

// Measure counts the live endpoints of an identity by stage. It is pure. Statuses of other rotations, of other
// receivers and of endpoints that are not live count for nothing.
func Measure(a Assignment, statuses map[endpoint.Key]Status, live []Target) Progress {
	a = a.detach()
	p := Progress{Identity: a.Name, Uses: a.Uses, Rotation: a.Rotation}
	if a.Rotation == nil {
		return p
	}
	p.To = a.Rotation.To
	live = slices.Clone(live)
	slices.SortFunc(live, func(x, y Target) int { return compareKeys(x.Key, y.Key) })
	for _, t := range live {
		line := Line{Endpoint: t.Key, Status: statuses[t.Key].of(a.Rotation, t.Mark)}
		switch line.Status.Stage {
		case Accepted:
			p.Accepted = append(p.Accepted, line)
			if line.Status.Since.After(p.AcceptedAt) {
				p.AcceptedAt = line.Status.Since
			}
		case Refused:
			p.Refused = append(p.Refused, line)
		case Unreachable:
			p.Unreachable = append(p.Unreachable, line)
		case Waiting:
			p.Waiting = append(p.Waiting, line)
		}
	}
	return p
}

// Total is the number of live endpoints in the rotation.
func (p Progress) Total() int { return len(p.Accepted) + p.Left() }

// Left is the number of live endpoints that have not accepted.
func (p Progress) Left() int { return len(p.Refused) + len(p.Unreachable) + len(p.Waiting) }

// Percent is the share of the live endpoints that have accepted, rounded down: 100 means all of them.
func (p Progress) Percent() int {
	if p.Left() == 0 {
		return 100
	}
	return 100 * len(p.Accepted) / p.Total()
}

// Stalled tells that a running rotation has had no new acceptance for 24 hours, nor begun within them, while some
// endpoint has not accepted.
func (p Progress) Stalled(now time.Time) bool {
	if p.Rotation == nil || p.Rotation.State != Running || p.Left() == 0 {
		return false
	}
	return now.Sub(p.moved()) >= stalledAfter
}

// moved is when the rotation last came forward, or a person set it going.
func (p Progress) moved() time.Time {
	last := p.Rotation.StartedAt
	for _, t := range []time.Time{p.Rotation.ChangedAt, p.AcceptedAt} {
		if t.After(last) {
			last = t
		}
	}
	return last
}

// complete tells whether the rotation can end at now; if only time is missing, when it can.
func (p Progress) complete(now time.Time, settle time.Duration) (done bool, at time.Time) {
	if p.Rotation == nil || p.Rotation.State != Running || p.Left() > 0 {
		return false, time.Time{}
	}
	at = p.moved().Add(settle)
	return !now.Before(at), at
}

func compareKeys(a, b endpoint.Key) int {
	return cmp.Or(strings.Compare(a.Tenant, b.Tenant), strings.Compare(a.Name, b.Name))
}
