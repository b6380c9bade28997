//go:build !unix

package mtls

// arrived cannot look at a socket here: a closed connection is found by the next write, and costs a second one.
func (w *wire) arrived([]byte) (int, error) { return 0, &waitedError{cause: errNothingYet} }
