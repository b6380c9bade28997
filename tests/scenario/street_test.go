package scenario

import (
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/rotation"
	"github.com/handfast/handfast/tests/kit"
)

const (
	oldName = "spiffe://handfast.test/first"
	newName = "spiffe://handfast.test/second"
)

func sayYes() *kit.Door { return kit.NewDoor(kit.ByAlert, oldName, newName) }

// house is a receiver with its door and its endpoints.
type house struct {
	*kit.Receiver

	door  *kit.Door
	types []string
}

// street is everything that one rotation meets.
type street struct {
	*kit.World

	houses map[string]*house
	types  []string
}

func tls12(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }

// http1 takes HTTP/2 out of what the receiver offers.
func http1(c *tls.Config) {
	own := c.Clone()
	own.NextProtos = []string{"http/1.1"}
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return own, nil }
}

// newStreet stores both identities and gives every receiver so many endpoints. One receiver in three speaks HTTP/1.1
// only, and one in three TLS 1.2.
func newStreet(t *testing.T, endpoints int, doors map[string]*kit.Door) *street {
	t.Helper()
	s := &street{World: kit.New(t), houses: make(map[string]*house)}
	s.Identity = nil
	s.Dispatcher.LeaseTTL, s.Dispatcher.TendInterval = 10*time.Second, time.Minute
	s.Import("default", oldName)
	s.Import("default-2", newName)
	for i, name := range slices.Sorted(maps.Keys(doors)) {
		h := &house{door: doors[name]}
		h.Receiver = s.Guarded(name+".example.com", h.door, slowly(5*time.Millisecond), []func(*tls.Config){http1, tls12, func(*tls.Config) {}}[i%3])
		for n := range endpoints {
			kind := fmt.Sprintf("com.acme.%s.%d", name, n)
			s.Apply(h.Document("acme", fmt.Sprintf("%s-%d", name, n), types(kind)))
			h.types = append(h.types, kind)
		}
		s.houses[name] = h
		s.types = append(s.types, h.types...)
	}
	return s
}

func (s *street) receivers() (all []*kit.Receiver) {
	for _, h := range s.houses {
		all = append(all, h.Receiver)
	}
	return all
}

// noFailures fails the test for every attempt that did not deliver.
func (s *street) noFailures() {
	s.T.Helper()
	for _, r := range s.Receipts() {
		require.Equal(s.T, delivery.Delivered, r.Outcome, "%s: %s", r.Endpoint, r.Detail)
	}
}

// untouched fails the test when a message came to a receiver that does not let its sender in.
func (s *street) untouched() {
	s.T.Helper()
	for name, h := range s.houses {
		assert.Zero(s.T, h.door.TurnedAway(oldName)+h.door.TurnedAway(newName), "messages that %s turned away", name)
	}
}

// stage is how far a receiver's endpoints are, all of them alike.
func (s *street) stage(name string) rotation.Status {
	s.T.Helper()
	var last rotation.Status
	found := 0
	for key, status := range s.Statuses("default") {
		if strings.HasPrefix(key.Name, name+"-") {
			if found > 0 {
				require.Equal(s.T, last.Stage, status.Stage, "%s", key)
			}
			last = status
			found++
		}
	}
	require.Len(s.T, s.houses[name].types, found, "endpoints of %s with a status", name)
	return last
}

// completed is when the last rotation ended.
func (s *street) completed() time.Time {
	s.T.Helper()
	at := s.Assignment("default")
	require.Nil(s.T, at.Rotation)
	require.NotEmpty(s.T, at.History)
	require.Equal(s.T, rotation.Completed, at.History[len(at.History)-1].How)
	return at.History[len(at.History)-1].EndedAt
}

func (s *street) seenSince(at time.Time) map[string]bool {
	seen := make(map[string]bool)
	for _, h := range s.houses {
		for name := range h.NamesSince(at) {
			seen[name] = true
		}
	}
	return seen
}

func keys(count map[string]int) []string { return slices.Sorted(maps.Keys(count)) }
