package signature

import "sync"

// maxKept is the largest buffer that is kept for the next request, in bytes.
const maxKept = 64 << 10

// contents joins what is signed in buffers that are used again: pure Ed25519
// needs its content in one piece, for every attempt of every delivery. There is
// no secret in them. The zero value is ready.
type contents struct {
	buffers sync.Pool
}

// with hands prefix+body to a function, which must not keep it.
func (c *contents) with(prefix, body []byte, use func(content []byte)) {
	buffer, ok := c.buffers.Get().(*[]byte)
	if !ok {
		buffer = new([]byte)
	}
	*buffer = append(append((*buffer)[:0], prefix...), body...)
	use(*buffer)
	if cap(*buffer) <= maxKept {
		c.buffers.Put(buffer)
	}
}
