package token

import (
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// access is one key in a token, opened, and opened again when the token was gone.
// What is on top of it, an identity or a bare key, says by accept what it needs.
type access struct {
	accessState // guarded by mu

	config Config
	open   opener
	logger *slog.Logger
	owner  slog.Attr // whose key it is, for the log
	// unusable is wrapped by errors of signatures for which there was no token.
	unusable error
	// accept looks at a device before it is put into use; its error leaves it out.
	accept func(ctx context.Context, d *device) error

	opening   chan struct{}  // holds one value while the token is being opened, and until that really ended
	releasing sync.WaitGroup // devices that are being closed

	mu sync.Mutex // guards accessState; never held while the module is called
}

type accessState struct {
	device *device // nil when gone, lost, held or closed
	gone   error   // why the device of before was given up; nil when all is well
	lost   error   // why there is no other one; nil as long as nobody has tried in vain
	closed bool
	opened bool // it was open once

	retryAt time.Time // when a lost token is opened again
	delay   time.Duration
	held    error             // the token refused a PIN, and why; nil otherwise
	refused [sha256.Size]byte // that PIN's
}

// signAttempts is how often one signature is tried: again when the session had
// ended, and once more when a restart ended the next one, too.
const signAttempts = 3

// sign lets the token sign by the key whose public half is given, and by no other.
func (a *access) sign(ctx context.Context, public crypto.PublicKey, digest []byte, options crypto.SignerOpts) (signature []byte, err error) {
	for range signAttempts {
		d, failed := a.reopen(ctx)
		switch {
		case failed != nil:
			return nil, fmt.Errorf("%w: %w", a.unusable, failed)
		case !samePublic(public, d.public):
			return nil, fmt.Errorf("%w: %s holds another key under this name now", a.unusable, a.config.tokenName())
		}
		signature, err = within(ctx, signTime, func() ([]byte, error) { return d.sign(digest, options) })
		if err == nil {
			return signature, nil
		}
		a.doubt(ctx, d, err)
		if !errors.Is(err, errLost) {
			return nil, err
		}
	}
	return nil, err
}

// doubt takes a device out of use when an error says that it is gone, once
// however many signatures notice.
func (a *access) doubt(ctx context.Context, d *device, cause error) {
	if !errors.Is(cause, errLost) && !errors.Is(cause, errHung) {
		return
	}
	a.mu.Lock()
	mine := a.device == d
	if mine {
		// Not lost yet: a signature that comes now opens the token again.
		a.device, a.gone, a.retryAt = nil, cause, time.Time{}
	}
	a.mu.Unlock()
	if mine {
		a.logger.LogAttrs(ctx, slog.LevelWarn, "token is gone, opening it again", a.owner, slog.Any("error", cause))
		a.releasing.Go(func() { a.release(d) }) // it waits for the other signatures under way
	}
}

// reopen returns the open device, after opening it if need be: one caller opens,
// the others wait for what comes of that. After a failure nobody tries again
// before the delay is over.
func (a *access) reopen(ctx context.Context) (*device, error) {
	if d, done, err := a.settled(); done {
		return d, err
	}
	wait := time.NewTimer(openTime)
	defer wait.Stop()
	select {
	case a.opening <- struct{}{}:
	case <-wait.C:
		return nil, fmt.Errorf("%w: it has been opening for more than %s", errHung, openTime)
	case <-ctx.Done():
		return nil, fmt.Errorf("nobody waits for the token any more: %w", context.Cause(ctx))
	}
	if d, done, err := a.settled(); done { // by whoever had its turn before
		<-a.opening
		return d, err
	}
	d, err := within(ctx, openTime, func() (*device, error) {
		// Only here, so that a module that hangs is not called again and again.
		defer func() { <-a.opening }()
		return a.attempts(ctx)
	})
	if err != nil {
		a.postpone(err)
	}
	return d, err
}

// settled tells whether there is nothing to open at the moment.
func (a *access) settled() (d *device, done bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.device != nil:
		return a.device, true, nil
	case a.closed, a.lost != nil && time.Now().Before(a.retryAt):
		return nil, true, a.lost
	default:
		return nil, false, nil
	}
}

// attempts opens the token. One that has just been lost may be in the middle of
// a restart, which signatures under way should outlive: it gets a few tries.
func (a *access) attempts(ctx context.Context) (*device, error) {
	a.mu.Lock()
	fresh := a.opened && a.delay == 0
	a.mu.Unlock()
	for pause := restartPause; ; pause *= 2 {
		d, err := a.attempt(ctx)
		if err == nil || !fresh || !errors.Is(err, errLost) || pause > longestRestartPause {
			return d, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// attempt opens the token once and puts what it finds into use.
func (a *access) attempt(ctx context.Context) (*device, error) {
	secret, err := a.config.PIN.read()
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	again, before := a.held != nil && a.refused == secret.sum(), a.held
	a.mu.Unlock()
	if again {
		return nil, before
	}
	d, err := a.open(a.config, secret)
	if err != nil {
		a.mu.Lock()
		a.held = nil
		if errors.Is(err, errPIN) {
			a.held, a.refused = err, secret.sum()
		}
		a.mu.Unlock()
		return nil, err
	}
	if err := a.adopt(ctx, d); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// postpone remembers why there is no token. A refused PIN needs no delay: until
// another one is there, a look at it is all that is done.
func (a *access) postpone(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.device != nil {
		return
	}
	a.lost, a.retryAt = err, time.Time{}
	if !errors.Is(err, errPIN) {
		a.delay = min(max(2*a.delay, firstDelay), longestDelay)
		a.retryAt = time.Now().Add(a.delay)
	}
}

// adopt puts a device that was just opened into use, if it is accepted.
func (a *access) adopt(ctx context.Context, d *device) error {
	if err := a.accept(ctx, d); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return a.lost
	}
	if a.gone != nil {
		a.logger.LogAttrs(ctx, slog.LevelInfo, "token is back", a.owner)
	}
	if d.extractable && a.gone == nil {
		a.logger.LogAttrs(ctx, slog.LevelWarn, "private key can be read out of its token, make one that cannot", a.owner)
	}
	a.device, a.gone, a.lost, a.delay, a.held, a.opened = d, nil, nil, 0, nil, true
	return nil
}

// look asks an open token whether it is still there, and opens one that is not.
func (a *access) look(ctx context.Context) (*device, error) {
	if d := a.current(); d != nil {
		_, err := within(ctx, signTime, func() (struct{}, error) { return struct{}{}, d.check() })
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		a.doubt(ctx, d, err)
	}
	return a.reopen(ctx)
}

func (a *access) current() *device {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.device
}

// trouble is why the token cannot be used; nil when it can, or nobody has tried.
func (a *access) trouble() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lost
}

// shut logs out, and waits 10 s at most for signatures under way.
func (a *access) shut() {
	a.mu.Lock()
	d := a.device
	a.device, a.closed = nil, true
	a.lost = errors.New("it was closed")
	a.mu.Unlock()
	a.release(d)
	a.releasing.Wait()
}

// release closes a device, without waiting for ever for calls that hang in it.
func (a *access) release(d *device) {
	if d == nil {
		return
	}
	_, _ = within(context.Background(), signTime, func() (struct{}, error) {
		d.close()
		return struct{}{}, nil
	})
}
