package dispatcher

import (
	"sync"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/mtls"
)

// spareWorkers is how many goroutines without work are kept, so that their grown stacks are used again.
const spareWorkers = 256

// crew runs work on goroutines that outlive it. It bounds nothing: slots and lanes do.
type crew struct {
	mu    sync.Mutex
	spare []chan func()
	done  bool
	busy  sync.WaitGroup
}

// do runs work at once, on a spare goroutine when there is one.
func (c *crew) do(work func()) {
	c.busy.Add(1)
	c.mu.Lock()
	if n := len(c.spare); n > 0 {
		worker := c.spare[n-1]
		c.spare = c.spare[:n-1]
		c.mu.Unlock()
		worker <- work
		return
	}
	c.mu.Unlock()
	go c.work(work)
}

func (c *crew) work(work func()) {
	next := make(chan func(), 1)
	for work != nil {
		work()
		c.mu.Lock()
		if c.done || len(c.spare) >= spareWorkers {
			c.mu.Unlock()
			c.busy.Done()
			return
		}
		c.spare = append(c.spare, next)
		c.mu.Unlock()
		c.busy.Done()
		work = <-next
	}
}

// wait returns when all work has ended, and lets the goroutines go.
func (c *crew) wait() {
	c.busy.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = true
	for _, worker := range c.spare {
		worker <- nil
	}
	c.spare = nil
}

// trusts keeps what the trust of each endpoint compiles to, per revision of its document.
type trusts struct {
	mu   sync.RWMutex
	made map[endpoint.Key]compiled
}

type compiled struct {
	revision uint64
	trust    mtls.Trust
}

// maxTrusts bounds the memory; beyond it everything is compiled again as it is needed.
const maxTrusts = 16_384

func (t *trusts) of(to endpoint.Registered) (mtls.Trust, error) {
	key := to.Key()
	t.mu.RLock()
	held, ok := t.made[key]
	t.mu.RUnlock()
	if ok && held.revision == to.Revision {
		return held.trust, nil
	}
	trust, err := mtls.NewTrust(to.TLS.Trust.Roots, to.TLS.Trust.Pins)
	if err != nil {
		return mtls.Trust{}, err //nolint:wrapcheck // told with the endpoint by the caller
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.made == nil || len(t.made) >= maxTrusts {
		t.made = make(map[endpoint.Key]compiled)
	}
	t.made[key] = compiled{revision: to.Revision, trust: trust}
	return trust, nil
}
