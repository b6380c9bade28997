package kit

import (
	"context"
	"net"
	"sync"
	"syscall"

	"github.com/handfast/handfast/tests/pipe"
)

// Network joins dispatchers and receivers in memory. Names lead to listeners; a name without one refuses.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*pipe.Listener
	dials     map[string]int
	sent      map[string]int
}

// Listen opens host:port. Connections are buffered like sockets, because a TLS server writes before it reads.
func (n *Network) Listen(address string) *pipe.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners == nil {
		n.listeners = make(map[string]*pipe.Listener)
		n.dials, n.sent = make(map[string]int), make(map[string]int)
	}
	l := pipe.Listen(64 << 10)
	n.listeners[address] = l
	return l
}

// Close refuses further connections to an address.
func (n *Network) Close(address string) {
	n.mu.Lock()
	l := n.listeners[address]
	delete(n.listeners, address)
	n.mu.Unlock()
	if l != nil {
		_ = l.Close()
	}
}

// Dial is the dispatcher's way to the network.
func (n *Network) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[address]
	if n.dials != nil {
		n.dials[address]++
	}
	n.mu.Unlock()
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	conn, err := l.DialContext(ctx)
	if err != nil {
		return nil, err
	}
	return meteredConn{Conn: conn, network: n, address: address}, nil
}

// meteredConn counts what a dispatcher puts on the wire, whether anybody reads it or not.
type meteredConn struct {
	net.Conn

	network *Network
	address string
}

// Write counts, then writes.
func (c meteredConn) Write(p []byte) (int, error) {
	c.network.mu.Lock()
	c.network.sent[c.address] += len(p)
	c.network.mu.Unlock()
	return c.Conn.Write(p)
}

// Sent is how many bytes dispatchers have put on the wire to an address, TLS included.
func (n *Network) Sent(address string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sent[address]
}

// Dials counts the connections asked for.
func (n *Network) Dials(address string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials[address]
}
