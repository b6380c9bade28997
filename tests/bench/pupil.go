package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/handfast/handfast/pkg/signature"
)

// knowledge is which of its endpoint's keys a receiver knows.
type knowledge int

const (
	// onlyOld keeps a key until its end, and learns of another one when that one has been replaced, too, or at the last
	// moment: when it has none left.
	onlyOld knowledge = iota
	// onlyNew learns of a key when it is published, before it signs, and gives it up when the next one has taken its place.
	onlyNew
	// both knows every key from its publication to its end.
	both
)

// String names it in the report.
func (k knowledge) String() string {
	switch k {
	case onlyOld:
		return "only_old"
	case onlyNew:
		return "only_new"
	case both:
		return "both"
	}
	return "knowledge(" + strconv.Itoa(int(k)) + ")"
}

// pupil is the receiver of one endpoint.
type pupil struct {
	knows knowledge

	mu   sync.RWMutex
	keys map[string]acquaintance // by the id of the key
}

// acquaintance is a key that a receiver has been told of.
type acquaintance struct {
	verifier signature.Verifier
	scheme   string
	// first says that the receiver has had it from the beginning, and active that it is no next one any more.
	first, active bool
	// retired is when the next one took its place, and end its last instant; zero while it is active, or waits.
	retired, end time.Time
}

// forgotten is after how long nothing that an ended key has signed can be under way any more.
const forgotten = 5 * time.Minute

// meet tells of a key as it is now.
func (p *pupil) meet(k signature.Key, first bool) {
	verifier, err := k.Verifier()
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.keys[k.ID]
	known.verifier, known.scheme, known.first, known.active = verifier, k.Scheme, known.first || first, k.State == signature.Active
	if k.State == signature.Retiring && known.retired.IsZero() {
		known.retired = time.Now()
	}
	known.end = k.NotAfter
	p.keys[k.ID] = known
	for id, other := range p.keys {
		if !other.end.IsZero() && time.Since(other.end) > forgotten {
			delete(p.keys, id)
		}
	}
}

// verifiers are those of the scheme's keys that the receiver goes by for a request that says that it was signed at a time.
// Were it the time at which the request arrives, a load that lets requests wait would decide, and not the rotation.
func (p *pupil) verifiers(scheme string, signed time.Time) []signature.Verifier {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var all, last []signature.Verifier
	for _, known := range p.keys {
		if known.scheme != scheme {
			continue
		}
		over := !known.end.IsZero() && signed.Add(resolution).After(known.end)
		retired := !known.retired.IsZero()
		wanted := false
		switch p.knows {
		case onlyOld:
			wanted = (retired || known.first) && !over
		case onlyNew:
			wanted = !retired || signed.Sub(known.retired) < lag
		case both:
			wanted = !over
		}
		if wanted {
			all = append(all, known.verifier)
		}
		if known.active {
			last = append(last, known.verifier)
		}
	}
	if len(all) == 0 && p.knows == onlyOld {
		return last
	}
	return all
}

// class is all receivers, a third of each kind.
type class struct {
	pupils [endpoints]*pupil

	mu         sync.Mutex
	verified   [both + 1]int
	refused    int
	first      error
	signatures int
}

func newClass() *class {
	c := &class{}
	for n := range c.pupils {
		c.pupils[n] = &pupil{knows: knowledge(n) % (both + 1), keys: make(map[string]acquaintance)}
	}
	return c
}

// accepts verifies every scheme of a request on its own.
func (c *class) accepts(r *http.Request, body []byte) bool {
	n, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/hooks/"))
	if err != nil || n < 0 || n >= endpoints {
		return c.note(0, 0, 0, fmt.Errorf("path %q is no endpoint's", r.URL.Path))
	}
	seconds, err := strconv.ParseInt(r.Header.Get(signature.HeaderTimestamp), 10, 64)
	if err != nil {
		return c.note(0, 0, 0, fmt.Errorf("%s: %w", signature.HeaderTimestamp, err))
	}
	p, signed, most := c.pupils[n], time.Unix(seconds, 0), 0
	for _, scheme := range signature.Standard() {
		most = max(most, strings.Count(" "+r.Header.Get(signature.HeaderSignature), " "+scheme+","))
		if _, err := signature.VerifyStandard(r.Header, body, p.verifiers(scheme, signed), time.Now(), 0); err != nil {
			return c.note(p.knows, 0, most, fmt.Errorf("%s of endpoint %d, which knows %s keys: %w", scheme, n, p.knows, err))
		}
	}
	return c.note(p.knows, len(signature.Standard()), most, nil)
}

// note counts, and tells whether it was no error.
func (c *class) note(knows knowledge, verified, signatures int, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.verified[knows] += verified
	c.signatures = max(c.signatures, signatures)
	if err != nil {
		c.refused++
		if c.first == nil {
			c.first = err
		}
	}
	return err == nil
}

func (c *class) report() keyReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	report := keyReport{Verified: make(map[string]int), Refused: c.refused, Signatures: c.signatures}
	for knows := onlyOld; knows <= both; knows++ {
		report.Verified[knows.String()] = c.verified[knows]
	}
	return report
}
