package mtls

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"sync"
	"time"
)

// destination holds the interchangeable connections to one receiver under one identity and trust.
//
// Locks are taken in the order pool, destination. Nothing that can wait for a receiver is done under either.
type destination struct {
	pool    *Pool
	key     key
	target  Target
	options *Options
	manners manners
	opener  handshaker

	mu      sync.Mutex
	idle    []*http1     // last in, first out: the warmest connection goes first, the others age
	shared  []*http2conn // each carries many requests
	open    int          // HTTP/1.1 connections, idle and lent
	dialing int
	waiters []*waiter
	// streak counts the handshakes that failed since one succeeded; last is the latest of them.
	streak  int
	last    *Failure
	retired bool // a newer identity has taken over: nothing is kept
	reaper  *time.Timer
	reapAt  time.Time
}

// identityOf asks a source. A source that gives neither an identity nor an error has none.
func identityOf(s Source) (*Identity, error) {
	if s == nil {
		return nil, fmt.Errorf("%w: the target names no source", ErrNoIdentity)
	}
	identity, err := s.Identity()
	if err == nil && identity == nil {
		return nil, fmt.Errorf("%w: the source gave none", ErrNoIdentity)
	}
	return identity, err //nolint:wrapcheck // said in the source's words
}

// destination finds or makes the destination of a target at its identity's generation, and retires the generation
// before it. The error is the identity source's.
func (p *Pool) destination(t Target) (*destination, error) {
	identity, err := identityOf(t.Identity)
	if err != nil {
		return nil, err
	}
	d, old, err := p.locate(t, identity)
	if old != nil {
		old.retire()
	}
	return d, err
}

func (p *Pool) locate(t Target, identity *Identity) (d, old *destination, err error) {
	k := key{
		authority: t.Authority, serverName: t.ServerName, name: identity.Name(),
		identity: generation(t, identity), trust: t.Trust.Fingerprint(), mutual: t.Mutual, minVersion: t.MinVersion,
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return p.newDestination(k, t, identity), nil, nil
	}
	if p.current[k.terms()] != k.identity {
		// Ask again in here, where everybody asks in turn: a request that read the old identity and was slow to come
		// this far must not bring it back.
		if identity, err = identityOf(t.Identity); err != nil {
			return nil, nil, err
		}
		k.name, k.identity = identity.Name(), generation(t, identity)
	}
	if before := p.current[k.terms()]; before != k.identity {
		previous := k
		previous.identity = before
		old = p.destinations[previous]
		delete(p.destinations, previous)
		p.current[k.terms()] = k.identity
	}
	d = p.destinations[k]
	if d == nil {
		d = p.newDestination(k, t, identity)
		p.destinations[k] = d
	}
	return d, old, nil
}

// generation is the identity's. Where revocation is checked it also ends after an hour, at a time of the hour that
// depends on the receiver: whoever is busy would otherwise never be asked for again.
func generation(t Target, identity *Identity) string {
	if t.Trust.Revocation() == RevocationIgnore {
		return identity.Generation()
	}
	phase := fnv.New32a()
	_, _ = phase.Write([]byte(t.Authority))
	age := int64(crlAge / time.Second)
	return identity.Generation() + "@" + strconv.FormatInt((time.Now().Unix()+int64(phase.Sum32())%age)/age, 10)
}

// terms are the key without the generation.
func (k key) terms() key {
	k.identity = ""
	return k
}

func (p *Pool) newDestination(k key, t Target, identity *Identity) *destination {
	d := &destination{pool: p, key: k, target: t, options: &p.options, retired: p.closed}
	d.opener = handshaker{target: t, identity: identity, options: &p.options, tracer: p.tracer, http2: p.http2, revoked: p.revoked}
	if !d.retired {
		d.watchLocked(time.Now().Add(d.options.IdleTimeout)) // nobody else knows it yet
	}
	return d
}

// retire ends the destination: idle connections close now, lent ones when they come back.
func (d *destination) retire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.retired = true
	for _, conn := range d.idle {
		d.dropLocked(conn)
	}
	d.idle = nil
	d.sweepLocked()
	if d.reaper != nil && !d.busyLocked() {
		d.reaper.Stop()
		d.reaper = nil
	}
}

// sweepLocked forgets HTTP/2 connections that carry nothing and take nothing more, or have idled enough.
func (d *destination) sweepLocked() {
	now := time.Now()
	d.shared = slices.DeleteFunc(d.shared, func(conn *http2conn) bool {
		over := d.retired || conn.refusal.Load() != nil || !conn.client.CanTakeNewRequest() || !now.Before(conn.expires)
		if conn.streams > 0 || !over {
			return false
		}
		d.pool.meters.connections.Add(context.Background(), -1)
		go conn.close()
		return true
	})
}

func (d *destination) dropLocked(conn *http1) {
	d.open--
	d.pool.meters.connections.Add(context.Background(), -1)
	conn.close()
}

// watchLocked sees to it that the reaper comes no later than at the given time.
func (d *destination) watchLocked(at time.Time) {
	if d.reaper != nil && !at.Before(d.reapAt) {
		return
	}
	if d.reaper != nil {
		d.reaper.Stop()
	}
	d.reapAt = at
	d.reaper = time.AfterFunc(time.Until(at), d.reap)
}

// reap lets idle connections, and in the end the destination itself, go.
func (d *destination) reap() {
	if !d.reapConnections() {
		return
	}
	p := d.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busyLocked() || p.destinations[d.key] != d {
		return
	}
	delete(p.destinations, d.key)
	if p.current[d.key.terms()] == d.key.identity {
		delete(p.current, d.key.terms())
	}
}

func (d *destination) busyLocked() bool {
	return d.open+len(d.shared)+d.dialing+len(d.waiters) > 0
}

// reapConnections closes what has idled enough, and reports whether nothing is left.
func (d *destination) reapConnections() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.reaper != nil {
		d.reaper.Stop()
		d.reaper = nil
	}
	now := time.Now()
	next := now.Add(d.options.IdleTimeout)
	d.idle = slices.DeleteFunc(d.idle, func(conn *http1) bool {
		if now.Before(conn.expires) && !conn.broken {
			if conn.expires.Before(next) {
				next = conn.expires
			}
			return false
		}
		d.dropLocked(conn)
		return true
	})
	d.sweepLocked()
	for _, conn := range d.shared {
		if conn.streams == 0 && conn.expires.Before(next) {
			next = conn.expires
		}
	}
	if !d.busyLocked() {
		return true
	}
	d.watchLocked(next)
	return false
}
