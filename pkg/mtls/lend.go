package mtls

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// waiter is a request without a connection.
type waiter struct {
	ctx     context.Context //nolint:containedctx // the handshake that it causes belongs to its trace
	fresh   bool            // only a new connection will do
	granted chan grant
}

type grant struct {
	conn    connection
	failure *Failure
}

// acquire lends a connection: an idle one, a share of an HTTP/2 one, or the first that a dial or another request sets
// free. With fresh, only a dial will do.
func (d *destination) acquire(ctx context.Context, fresh bool) (connection, *Failure) {
	if ctx.Err() != nil {
		return nil, d.neverReady(ctx, nil)
	}
	d.mu.Lock()
	if !fresh {
		if conn := d.takeLocked(); conn != nil {
			d.mu.Unlock()
			return conn, nil
		}
	}
	w := &waiter{ctx: context.WithoutCancel(ctx), fresh: fresh, granted: make(chan grant, 1)}
	d.waiters = append(d.waiters, w)
	d.dialLocked()
	d.mu.Unlock()
	select {
	case g := <-w.granted:
		return g.conn, g.failure
	case <-ctx.Done():
		return nil, d.neverReady(ctx, d.abandon(w))
	}
}

func (d *destination) neverReady(ctx context.Context, last *Failure) *Failure {
	f := &Failure{
		Kind: TimedOut, Basis: Ours, cause: ctx.Err(),
		Detail: "no connection to " + d.target.Authority + " was ready within the endpoint's timeout",
		Advice: "The receiver accepts connections too slowly, or answers too slowly for its load",
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		f.Detail = "the request to " + d.target.Authority + " was given up on this side before a connection was ready"
	}
	if last != nil {
		f.Detail += "; the last handshake failed: " + last.Detail
		f.Advice, f.Proof, f.Handshake = last.Advice, last.Proof, last.Handshake
	}
	return f
}

// abandon takes a waiter out and returns how the last handshake failed, if it did.
func (d *destination) abandon(w *waiter) *Failure {
	d.mu.Lock()
	last := d.last
	i := slices.Index(d.waiters, w)
	if i >= 0 {
		d.waiters = slices.Delete(d.waiters, i, i+1)
	}
	d.mu.Unlock()
	if i < 0 { // granted at the same moment: hand it on
		if g := <-w.granted; g.conn != nil {
			d.release(g.conn)
		}
	}
	return last
}

func (d *destination) takeLocked() connection {
	now := time.Now()
	dead := false
	for _, conn := range d.shared {
		switch {
		case !conn.usable(now):
			dead = true
		case conn.streams < conn.max:
			conn.streams++
			return conn
		}
	}
	if dead {
		d.sweepLocked()
	}
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

// dialLocked starts handshakes for the waiters, within the bounds: one at a time where one serves many (HTTP/2), and
// where the last one failed.
func (d *destination) dialLocked() {
	limit := d.options.DialLimit
	if len(d.shared) > 0 || d.streak > 0 {
		limit = 1
	}
	for d.dialing < min(limit, len(d.waiters)) {
		if d.open+len(d.shared)+d.dialing >= d.options.ConnectionLimit {
			if len(d.idle) == 0 {
				return
			}
			// Whoever waits beside an idle connection needs a new one.
			d.dropLocked(d.idle[0])
			d.idle = slices.Delete(d.idle, 0, 1)
		}
		ctx := d.waiters[d.dialing].ctx // the handshake outlives the request that caused it, but stays in its trace
		d.dialing++
		go d.dial(ctx)
	}
}

func (d *destination) dial(ctx context.Context) {
	began := time.Now()
	secure, failure := d.opener.open(ctx)
	result := "ok"
	if failure != nil {
		result = failure.Kind.String()
	}
	attributes := metric.WithAttributes(attribute.String("result", result))
	d.pool.meters.handshakes.Add(ctx, 1, attributes)
	d.pool.meters.handshake.Record(ctx, time.Since(began).Seconds(), attributes)
	if failure != nil {
		d.failed(failure)
		return
	}
	d.pool.meters.connections.Add(ctx, 1)
	if secure.client != nil {
		conn := newHTTP2(secure, d)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.succeededLocked()
		d.shared = append(d.shared, conn)
		d.watchLocked(conn.expires)
		for w := d.nextLocked(true); w != nil; w = d.nextLocked(true) {
			conn.streams++
			w.granted <- grant{conn: conn}
			if conn.streams == conn.max {
				break
			}
		}
		d.sweepLocked()
		d.dialLocked()
		return
	}
	conn := newHTTP1(secure, d)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.succeededLocked()
	d.open++
	d.grantLocked(conn, true)
	d.dialLocked()
}

func (d *destination) succeededLocked() {
	d.dialing--
	d.streak, d.last = 0, nil
}

// failed tells waiters that a handshake failed: all of them when nothing works, so that a destination that is down
// costs a handshake or a few, and not one per delivery. Nobody is told as long as another handshake or an open
// connection may still serve him.
func (d *destination) failed(failure *Failure) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dialing--
	d.streak++
	d.last = failure
	d.watchLocked(time.Now().Add(d.options.IdleTimeout))
	if d.open+len(d.shared) > 0 {
		// A released connection goes round; those who need a new one have had their try.
		d.waiters = slices.DeleteFunc(d.waiters, func(w *waiter) bool {
			if w.fresh {
				w.granted <- grant{failure: failure}
			}
			return w.fresh
		})
		return
	}
	if d.dialing > 0 && d.streak < d.options.DialLimit {
		return
	}
	for _, w := range d.waiters {
		w.granted <- grant{failure: failure}
	}
	d.waiters = nil
}

// nextLocked takes out the first waiter that a connection suits: a new one suits everybody.
func (d *destination) nextLocked(fresh bool) *waiter {
	i := slices.IndexFunc(d.waiters, func(w *waiter) bool { return fresh || !w.fresh })
	if i < 0 {
		return nil
	}
	w := d.waiters[i]
	d.waiters = slices.Delete(d.waiters, i, i+1)
	return w
}

func (d *destination) grantLocked(conn *http1, fresh bool) {
	if w := d.nextLocked(fresh); w != nil {
		w.granted <- grant{conn: conn}
		return
	}
	if d.retired {
		d.dropLocked(conn)
		return
	}
	d.idle = append(d.idle, conn)
	d.watchLocked(conn.expires)
}

// release takes a lent connection back.
func (d *destination) release(lent connection) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	switch conn := lent.(type) {
	case *http1:
		// With nobody waiting, who takes it next looks at it then.
		keep := !conn.broken && now.Before(conn.expires)
		if keep && len(d.waiters) > 0 {
			keep = conn.usable(now)
		}
		if keep {
			d.grantLocked(conn, false)
		} else {
			d.dropLocked(conn)
		}
	case *http2conn:
		conn.streams--
		conn.expires = now.Add(d.options.IdleTimeout)
		d.serveLocked()
		d.sweepLocked()
		if len(d.shared) > 0 {
			d.watchLocked(conn.expires)
		}
	}
	d.dialLocked()
}

// settle lends anew after an HTTP/2 connection has been found well or dead.
func (d *destination) settle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.serveLocked()
	d.sweepLocked()
	d.dialLocked()
}

// serveLocked lends what HTTP/2 connections have free to those who wait.
func (d *destination) serveLocked() {
	for slices.ContainsFunc(d.waiters, func(w *waiter) bool { return !w.fresh }) {
		conn := d.takeLocked()
		if conn == nil {
			return
		}
		d.nextLocked(false).granted <- grant{conn: conn}
	}
}
