package listener

import (
	"net"
	"net/http"
	"sync"
)

// underway knows the connections on which something is being answered.
type underway struct {
	mu     sync.Mutex
	active map[net.Conn]bool
	none   func()
}

// note is the hook of an http.Server.
func (u *underway) note(connection net.Conn, state http.ConnState) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if state == http.StateActive {
		if u.active == nil {
			u.active = make(map[net.Conn]bool)
		}
		u.active[connection] = true
		return
	}
	delete(u.active, connection)
	u.tell()
}

// whenNone calls do once nothing is being answered, at once perhaps.
func (u *underway) whenNone(do func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.none = do
	u.tell()
}

func (u *underway) tell() {
	if u.none != nil && len(u.active) == 0 {
		u.none()
	}
}
