package token

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// What a Source decides on. The errors that wrap these say the rest in words.
var (
	// errLost is wrapped when the session, the login or the token is gone: opening it again may help.
	errLost = errors.New("the token is not there")
	// errPIN is wrapped when the token does not take the PIN: trying it again does harm.
	errPIN = errors.New("the token does not take the PIN")
	// errBusy is wrapped when too much is asked of a token that works.
	errBusy = errors.New("the token is busy")
	// errHung is wrapped when the token did not answer in time: it counts as lost, but whoever waited waits no longer.
	errHung = errors.New("the token does not answer")
)

// device is an open token and the one key in it that is used. Its functions call
// into the module and may take any time; within bounds that.
type device struct {
	public      crypto.PublicKey
	extractable bool // somebody with the PIN could read the private key out
	sign        func(digest []byte, options crypto.SignerOpts) ([]byte, error)
	certificate func() (*x509.Certificate, error)         // the token's own for this key
	store       func(certificate *x509.Certificate) error // replaces it
	check       func() error                              // is the token still there?
	remove      func() error                              // deletes the key
	close       func()
}

// opener opens a token and finds the key in it.
type opener func(Config, pin) (*device, error)

// within waits no longer than d for work, since a call into a module cannot be
// interrupted. What comes of it later is lost.
func within[T any](ctx context.Context, d time.Duration, work func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := work()
		done <- result{value, err}
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	var cause error
	select {
	case r := <-done:
		return r.value, r.err
	case <-timer.C:
		cause = fmt.Errorf("%w: nothing came within %s", errHung, d)
	case <-ctx.Done():
		cause = fmt.Errorf("nobody waits for the token any more: %w", context.Cause(ctx))
	}
	var none T
	return none, cause
}

func samePublic(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(x crypto.PublicKey) bool })
	return ok && key.Equal(b)
}
