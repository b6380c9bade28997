package kit

import (
	"io"
	"sync"
)

// lockedWriter lets several services log into one buffer.
type lockedWriter struct {
	mu sync.Mutex
	to io.Writer
}

// Write appends.
func (w *lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p) //nolint:wrapcheck // io.Writer
}
