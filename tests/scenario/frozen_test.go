package scenario

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/tests/kit"
)

// frozen is a broker from which nothing arrives for a while: what it has sent waits in the sockets of a process that
// stands still. What is said to it takes a moment.
type frozen struct {
	inner nats.InProcessConnProvider

	mu   sync.Mutex
	thaw chan struct{} // nil while nothing is frozen
}

// freeze lets everything wait until the returned function is called.
func (f *frozen) freeze() (melt func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	thaw := make(chan struct{})
	f.thaw = thaw
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.thaw = nil
		close(thaw)
	}
}

func (f *frozen) wait() {
	f.mu.Lock()
	thaw := f.thaw
	f.mu.Unlock()
	if thaw != nil {
		<-thaw
	}
}

func (f *frozen) InProcessConn() (net.Conn, error) {
	server, err := distant{f.inner, 10 * time.Millisecond}.InProcessConn()
	if err != nil {
		return nil, err
	}
	client, near := net.Pipe()
	way := make(chan []byte, 1<<12)
	go func() {
		defer close(way)
		for {
			data := make([]byte, 32<<10)
			n, err := server.Read(data)
			if err != nil {
				return
			}
			way <- data[:n]
		}
	}()
	go func() {
		defer near.Close()
		for data := range way {
			f.wait()
			if _, err := near.Write(data); err != nil {
				return
			}
		}
	}()
	go func() {
		defer server.Close()
		data := make([]byte, 32<<10)
		for {
			n, err := near.Read(data)
			if err != nil {
				return
			}
			if _, err := server.Write(data[:n]); err != nil {
				return
			}
		}
	}()
	return client, nil
}

// TestASignerThatHasStoodStillMissesNoDocument: the word of a new document and an event for it, more than a second later,
// lie there together when it goes on.
func TestASignerThatHasStoodStillMissesNoDocument(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		w := kit.New(t)
		var o nats.Options
		require.NoError(t, w.Broker.Option()(&o))
		way := &frozen{inner: o.InProcessServer}
		r := w.Receiver("hooks.example.com", kit.Answer(200))
		w.Apply(r.Document("acme", "first"))
		w.StartSigner(nats.InProcessServer(way))
		w.StartDispatcher(w.Broker.Option())
		w.Pass(10 * time.Second)
		melt := way.freeze()
		w.Apply(r.Document("acme", "second"))
		w.Pass(1500 * time.Millisecond)
		w.Publish("acme", created, `{}`)
		w.Pass(time.Second)
		require.Empty(t, r.Hits(), "it stands still")
		melt()
		w.Pass(time.Minute)
		assert.Len(t, r.Hits(), 2, "both endpoints have it")
	})
}
