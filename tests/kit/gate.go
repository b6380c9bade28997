package kit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
)

// Gate stands between one service and the broker and sees every message that the service publishes, in order. It can
// cut the service off just before one of them, for ever: the service has crashed at exactly that step.
type Gate struct {
	broker nats.InProcessConnProvider
	// Counts tells which publishes are steps; others pass uncounted.
	counts func(subject string) bool
	// Swallow, set before the first connection, tells which publishes never arrive, as if their answers were lost.
	Swallow func(subject string) bool
	// cutAt is the step before which the connection is cut, from 0; negative for never.
	cutAt int

	mu    sync.Mutex
	steps []string
	cut   bool
	down  chan struct{}
	conns []net.Conn
}

// provider is what the embedded server's option wraps.
type provider struct{ connect func() (net.Conn, error) }

// InProcessConn gives a connection.
func (p provider) InProcessConn() (net.Conn, error) { return p.connect() }

// Gate makes a gate before the world's broker.
func (w *World) Gate(cutAt int, counts func(subject string) bool) *Gate {
	w.T.Helper()
	return &Gate{broker: w.inProcess(w.T), counts: counts, cutAt: cutAt, down: make(chan struct{})}
}

// inProcess takes the provider out of the broker's option.
func (w *World) inProcess(t *testing.T) nats.InProcessConnProvider {
	t.Helper()
	var o nats.Options
	if err := w.Broker.Option()(&o); err != nil {
		t.Fatal(err)
	}
	return o.InProcessServer
}

// Option lets a service connect through the gate.
func (g *Gate) Option() nats.Option { return nats.InProcessServer(provider{connect: g.connect}) }

// Down is closed when the cut has been made.
func (g *Gate) Down() <-chan struct{} { return g.down }

// Steps are the subjects that were published and counted, those after the cut left out.
func (g *Gate) Steps() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.steps...)
}

var errCrashed = errors.New("the service has crashed")

func (g *Gate) connect() (net.Conn, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cut {
		return nil, errCrashed
	}
	server, err := g.broker.InProcessConn()
	if err != nil {
		return nil, fmt.Errorf("reach the broker: %w", err)
	}
	client, inner := net.Pipe()
	g.conns = append(g.conns, client, inner, server)
	go io.Copy(inner, server) //nolint:errcheck // it ends with the connection
	go g.forward(server, bufio.NewReader(inner))
	return client, nil
}

// forward reads the client's protocol operation by operation.
func (g *Gate) forward(server net.Conn, client *bufio.Reader) {
	defer server.Close() //nolint:errcheck // the end in any case
	for {
		operation, subject, err := readOperation(client)
		if err != nil {
			return
		}
		if subject != "" && g.Swallow != nil && g.Swallow(subject) {
			continue
		}
		if subject != "" && !g.pass(subject) {
			return
		}
		if _, err := server.Write(operation); err != nil {
			return
		}
	}
}

// pass counts a publish, and cuts instead when it is the one.
func (g *Gate) pass(subject string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cut {
		return false
	}
	if !g.counts(subject) {
		return true
	}
	if len(g.steps) == g.cutAt {
		g.cut = true
		for _, conn := range g.conns {
			_ = conn.Close()
		}
		close(g.down)
		return false
	}
	g.steps = append(g.steps, subject)
	return true
}

// readOperation reads one operation of the NATS client protocol; subject is set for a publish.
func readOperation(r *bufio.Reader) (operation []byte, subject string, err error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, "", err //nolint:wrapcheck // only ends the loop
	}
	fields := strings.Fields(line)
	if len(fields) < 3 || (fields[0] != "PUB" && fields[0] != "HPUB") {
		return []byte(line), "", nil
	}
	size, err := strconv.Atoi(fields[len(fields)-1])
	if err != nil {
		return nil, "", err //nolint:wrapcheck // only ends the loop
	}
	payload := make([]byte, size+2)
	if _, err := io.ReadFull(r, payload); err != nil {
		return nil, "", err //nolint:wrapcheck // only ends the loop
	}
	return append([]byte(line), payload...), fields[1], nil
}
