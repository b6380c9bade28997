package kit

import (
	"context"
	"net"
	"sync"
	"syscall"

	"google.golang.org/grpc/test/bufconn"
)

// Network joins dispatchers and receivers in memory. Names lead to listeners; a name without one refuses.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*bufconn.Listener
	dials     map[string]int
}

// Listen opens host:port. Connections are buffered like sockets, because a TLS server writes before it reads.
func (n *Network) Listen(address string) *bufconn.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners == nil {
		n.listeners = make(map[string]*bufconn.Listener)
		n.dials = make(map[string]int)
	}
	l := bufconn.Listen(64 << 10)
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
	return l.DialContext(ctx)
}

// Dials counts the connections asked for.
func (n *Network) Dials(address string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials[address]
}
