package stream

import "sync"

// spareWorkers is how many goroutines without work are kept, so that their grown stacks are used again.
const spareWorkers = 256

// Crew runs work on goroutines that outlive it. It bounds nothing: [Slots] do. The zero value is ready; it is of no use after Wait.
type Crew struct {
	mu    sync.Mutex
	spare []chan func()
	done  bool
	busy  sync.WaitGroup
}

// Do runs work at once, on a spare goroutine when there is one.
func (c *Crew) Do(work func()) {
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

func (c *Crew) work(work func()) {
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

// Wait returns when all work has ended, and lets the goroutines go.
func (c *Crew) Wait() {
	c.busy.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done = true
	for _, worker := range c.spare {
		worker <- nil
	}
	c.spare = nil
}
