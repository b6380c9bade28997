package dispatcher

import (
	"sync"

	"github.com/handfast/handfast/pkg/endpoint"
)

// maxSettling is how many attempts of one endpoint are settled beside its lane. A broker that takes a while for an answer
// is far from it; where a stream is gone, one endpoint must not hold all the slots with what it would put there.
const maxSettling = 64

// settling counts the attempts that are over, and whose results are on their way to the broker.
type settling struct {
	mu    sync.Mutex
	count map[endpoint.Key]int
}

// begin reports whether there is room beside the lane, which end gives back.
func (s *settling) begin(key endpoint.Key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count[key] >= maxSettling {
		return false
	}
	if s.count == nil {
		s.count = make(map[endpoint.Key]int)
	}
	s.count[key]++
	return true
}

func (s *settling) end(key endpoint.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count[key]--
	if s.count[key] == 0 {
		delete(s.count, key)
	}
}
