package mtls

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// destination holds the interchangeable connections to one receiver under one identity and trust.
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
	retired bool // a newer identity has taken over: nothing is kept
	reaper  *time.Timer
}

type waiter struct{ granted chan grant }

type grant struct {
	conn    connection
	failure *Failure
}

// destination finds or makes the destination of a target at its identity's generation, and retires the generation
// before it.
func (p *Pool) destination(t Target, identity *Identity) *destination {
	k := key{
		authority: t.Authority, serverName: t.ServerName, name: identity.Name(),
		identity: identity.Generation(), trust: t.Trust.Fingerprint(), mutual: t.Mutual,
	}
	terms := k
	terms.identity = ""
	p.mu.Lock()
	d := p.destinations[k]
	var old *destination
	if before := p.current[terms]; before != k.identity {
		previous := k
		previous.identity = before
		old = p.destinations[previous]
		delete(p.destinations, previous)
		p.current[terms] = k.identity
	}
	if d == nil {
		d = &destination{pool: p, key: k, target: t, options: &p.options}
		d.opener = handshaker{target: t, identity: identity, options: &p.options, tracer: p.tracer}
		d.retired = p.closed
		p.destinations[k] = d
	}
	p.mu.Unlock()
	if old != nil {
		old.retire()
	}
	return d
}

// acquire lends a connection: an idle one, a share of an HTTP/2 one, or the first that a dial or another request sets
// free.
func (d *destination) acquire(ctx context.Context) (connection, *Failure) {
	d.mu.Lock()
	if conn := d.takeLocked(); conn != nil {
		d.mu.Unlock()
		return conn, nil
	}
	w := &waiter{granted: make(chan grant, 1)}
	d.waiters = append(d.waiters, w)
	d.dialLocked(ctx)
	d.mu.Unlock()
	select {
	case g := <-w.granted:
		return g.conn, g.failure
	case <-ctx.Done():
		d.abandon(w)
		return nil, &Failure{
			Kind: TimedOut, Basis: Ours, cause: ctx.Err(),
			Detail: "no connection to " + d.target.Authority + " was ready within the endpoint's timeout",
			Advice: "The receiver accepts connections too slowly, or answers too slowly for its load",
		}
	}
}

func (d *destination) abandon(w *waiter) {
	d.mu.Lock()
	if i := slices.Index(d.waiters, w); i >= 0 {
		d.waiters = slices.Delete(d.waiters, i, i+1)
		d.mu.Unlock()
		return
	}
	d.mu.Unlock()
	// Granted at the same moment: hand it on.
	if g := <-w.granted; g.conn != nil {
		d.release(g.conn)
	}
}

func (d *destination) takeLocked() connection {
	for _, conn := range d.shared {
		if conn.client.ReserveNewRequest() {
			return conn
		}
	}
	now := time.Now()
	for len(d.idle) > 0 {
		last := len(d.idle) - 1
		conn := d.idle[last]
		d.idle = d.idle[:last]
		if conn.usable(now) {
			return conn
		}
		d.dropLocked(conn)
	}
	return nil
}

// dialLocked starts handshakes for the waiters, within the bounds.
func (d *destination) dialLocked(ctx context.Context) {
	limit := d.options.DialLimit
	if len(d.shared) > 0 {
		limit = 1 // HTTP/2: one more connection serves many
	}
	for d.dialing < min(limit, len(d.waiters)) && d.open+len(d.shared)+d.dialing < d.options.ConnectionLimit {
		d.dialing++
		// The handshake outlives the request that caused it, but stays in its trace.
		go d.dial(context.WithoutCancel(ctx))
	}
}

func (d *destination) dial(ctx context.Context) {
	began := time.Now()
	conn, failure := d.connect(ctx)
	result := "ok"
	if failure != nil {
		result = failure.Kind.String()
	}
	attributes := metric.WithAttributes(attribute.String("result", result))
	d.pool.meters.handshakes.Add(ctx, 1, attributes)
	d.pool.meters.handshake.Record(ctx, time.Since(began).Seconds(), attributes)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dialing--
	if failure != nil {
		d.failLocked(failure)
		d.dialLocked(ctx)
		d.watchLocked()
		return
	}
	d.pool.meters.connections.Add(ctx, 1)
	switch conn := conn.(type) {
	case *http1:
		d.open++
		d.grantLocked(conn)
	case *http2conn:
		d.shared = append(d.shared, conn)
		d.watchLocked()
		for len(d.waiters) > 0 && conn.client.ReserveNewRequest() {
			d.nextLocked().granted <- grant{conn: conn}
		}
	}
	d.dialLocked(ctx)
}

func (d *destination) connect(ctx context.Context) (connection, *Failure) {
	secure, failure := d.opener.open(ctx)
	if failure != nil {
		return nil, failure
	}
	if secure.proof.ALPN != "h2" {
		return newHTTP1(secure, d), nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.options.HandshakeTimeout)
	defer cancel()
	conn, failure := newHTTP2(ctx, secure, d)
	if failure != nil {
		return nil, failure
	}
	return conn, nil
}

// failLocked tells waiters that a handshake failed: all of them when nothing works, so that a destination that is down
// costs one handshake and not one per delivery; otherwise only the oldest, since the others may still be served.
func (d *destination) failLocked(failure *Failure) {
	if d.open+len(d.shared) > 0 {
		if w := d.nextLocked(); w != nil {
			w.granted <- grant{failure: failure}
		}
		return
	}
	for w := d.nextLocked(); w != nil; w = d.nextLocked() {
		w.granted <- grant{failure: failure}
	}
}

func (d *destination) nextLocked() *waiter {
	if len(d.waiters) == 0 {
		return nil
	}
	w := d.waiters[0]
	d.waiters = slices.Delete(d.waiters, 0, 1)
	return w
}

func (d *destination) grantLocked(conn *http1) {
	if w := d.nextLocked(); w != nil {
		w.granted <- grant{conn: conn}
		return
	}
	if d.retired {
		d.dropLocked(conn)
		return
	}
	d.idle = append(d.idle, conn)
	d.watchLocked()
}

// release takes a lent connection back.
func (d *destination) release(lent connection) {
	conn, ok := lent.(*http1)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !ok:
		d.sweepLocked()
	case d.retired || !conn.usable(time.Now()):
		d.dropLocked(conn)
		d.dialLocked(context.Background())
		return
	default:
		d.grantLocked(conn)
		return
	}
	for len(d.waiters) > 0 {
		free := d.takeLocked()
		if free == nil {
			d.dialLocked(context.Background())
			return
		}
		d.nextLocked().granted <- grant{conn: free}
	}
}

// sweepLocked forgets HTTP/2 connections that take nothing more and carry nothing.
func (d *destination) sweepLocked() {
	d.shared = slices.DeleteFunc(d.shared, func(conn *http2conn) bool {
		if (conn.client.CanTakeNewRequest() && !d.retired) || !conn.idle() {
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

// closeIdle gives up every kept connection, because one of them was found closed by the receiver.
func (d *destination) closeIdle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, conn := range d.idle {
		d.dropLocked(conn)
	}
	d.idle = nil
	d.sweepLocked()
}

// retire ends the destination: idle connections close now, lent ones when they come back.
func (d *destination) retire() {
	d.mu.Lock()
	d.retired = true
	d.mu.Unlock()
	d.closeIdle()
}

// watchLocked arms the reaper that lets idle connections, and in the end the destination itself, go.
func (d *destination) watchLocked() {
	if d.reaper == nil {
		d.reaper = time.AfterFunc(d.options.IdleTimeout, d.reap)
	}
}

func (d *destination) reap() {
	p := d.pool
	p.mu.Lock()
	d.mu.Lock()
	defer p.mu.Unlock()
	defer d.mu.Unlock()
	d.reaper = nil
	now := time.Now()
	d.idle = slices.DeleteFunc(d.idle, func(conn *http1) bool {
		if now.Before(conn.expires) && !conn.broken {
			return false
		}
		d.dropLocked(conn)
		return true
	})
	d.shared = slices.DeleteFunc(d.shared, func(conn *http2conn) bool {
		if !conn.idle() || now.Sub(conn.client.State().LastIdle) < d.options.IdleTimeout {
			return false
		}
		p.meters.connections.Add(context.Background(), -1)
		go conn.close()
		return true
	})
	if d.open+len(d.shared)+d.dialing+len(d.waiters) > 0 {
		d.watchLocked()
		return
	}
	if p.destinations[d.key] == d {
		delete(p.destinations, d.key)
		terms := d.key
		terms.identity = ""
		if p.current[terms] == d.key.identity {
			delete(p.current, terms)
		}
	}
}

// Close retires every destination. Exchanges under way end by their own contexts.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	all := make([]*destination, 0, len(p.destinations))
	for _, d := range p.destinations {
		all = append(all, d)
	}
	p.mu.Unlock()
	for _, d := range all {
		d.retire()
	}
}
