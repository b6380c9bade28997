package token

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/handfast/handfast/pkg/mtls"
)

// doubt takes a device out of use when an error says that it is gone, once
// however many signatures notice.
func (s *Source) doubt(ctx context.Context, d *device, cause error) {
	if !errors.Is(cause, errLost) && !errors.Is(cause, errHung) {
		return
	}
	s.mu.Lock()
	mine := s.device == d
	if mine {
		// Not lost yet: a signature that comes now opens the token again.
		s.device, s.gone, s.retryAt = nil, cause, time.Time{}
	}
	s.mu.Unlock()
	if mine {
		s.options.Logger.LogAttrs(ctx, slog.LevelWarn, "token of a client identity is gone, opening it again",
			slog.String("identity", s.name), slog.Any("error", cause))
		s.releasing.Go(func() { s.release(d) }) // it waits for the other signatures under way
	}
}

// reopen returns the open device, after opening it if need be: one caller opens,
// the others wait for what comes of that. After a failure nobody tries again
// before the delay is over.
func (s *Source) reopen(ctx context.Context) (*device, error) {
	if d, done, err := s.settled(); done {
		return d, err
	}
	wait := time.NewTimer(openTime)
	defer wait.Stop()
	select {
	case s.opening <- struct{}{}:
	case <-wait.C:
		return nil, fmt.Errorf("%w: it has been opening for more than %s", errHung, openTime)
	case <-ctx.Done():
		return nil, fmt.Errorf("nobody waits for the token any more: %w", context.Cause(ctx))
	}
	if d, done, err := s.settled(); done { // by whoever had its turn before
		<-s.opening
		return d, err
	}
	d, err := within(ctx, openTime, func() (*device, error) {
		// Only here, so that a module that hangs is not called again and again.
		defer func() { <-s.opening }()
		return s.attempts(ctx)
	})
	if err != nil {
		s.postpone(err)
	}
	return d, err
}

// settled tells whether there is nothing to open at the moment.
func (s *Source) settled() (d *device, done bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.device != nil:
		return s.device, true, nil
	case s.closed, s.lost != nil && time.Now().Before(s.retryAt):
		return nil, true, s.lost
	default:
		return nil, false, nil
	}
}

// attempts opens the token. One that has just been lost may be in the middle of
// a restart, which signatures under way should outlive: it gets a few tries.
func (s *Source) attempts(ctx context.Context) (*device, error) {
	s.mu.Lock()
	fresh := s.identity != nil && s.delay == 0
	s.mu.Unlock()
	for pause := restartPause; ; pause *= 2 {
		d, err := s.attempt(ctx)
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

// attempt opens the token once and makes what it finds the current state.
func (s *Source) attempt(ctx context.Context) (*device, error) {
	secret, err := s.config.PIN.read()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	again, before := s.held != nil && s.refused == secret.sum(), s.held
	s.mu.Unlock()
	if again {
		return nil, before
	}
	d, err := s.open(s.config, secret)
	if err != nil {
		s.mu.Lock()
		s.held = nil
		if errors.Is(err, errPIN) {
			s.held, s.refused = err, secret.sum()
		}
		s.mu.Unlock()
		return nil, err
	}
	if err := s.adopt(ctx, d); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// postpone remembers why there is no token. A refused PIN needs no delay: until
// another one is there, a look at it is all that is done.
func (s *Source) postpone(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.device != nil {
		return
	}
	s.lost, s.retryAt = err, time.Time{}
	if !errors.Is(err, errPIN) {
		s.delay = min(max(2*s.delay, firstDelay), longestDelay)
		s.retryAt = time.Now().Add(s.delay)
	}
}

// adopt puts a device that was just opened into use, if key and certificate make
// an identity. A certificate file that is broken at that moment does not cost the
// identity that there was, as long as the key is the same.
func (s *Source) adopt(ctx context.Context, d *device) error {
	identity, content, err := s.load(ctx, d)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return s.lost
	case err == nil:
		s.identity, s.content = identity, content
	case s.identity == nil || !samePublic(s.identity.Leaf().PublicKey, d.public):
		return err
	}
	if s.gone != nil {
		s.options.Logger.LogAttrs(ctx, slog.LevelInfo, "token of a client identity is back", slog.Any("identity", s.identity))
	}
	if d.extractable && s.gone == nil {
		s.options.Logger.LogAttrs(ctx, slog.LevelWarn,
			"private key of a client identity can be read out of its token, make one that cannot", slog.Any("identity", s.identity))
	}
	s.device, s.gone, s.lost, s.problem, s.delay, s.held = d, nil, nil, err, 0, nil
	return nil
}

// load makes an identity of the certificate as it is now.
func (s *Source) load(ctx context.Context, d *device) (*mtls.Identity, [sha256.Size]byte, error) {
	text, err := s.certificatePEM(ctx, d)
	if err != nil {
		return nil, [sha256.Size]byte{}, fmt.Errorf("the certificate cannot be read: %w", err)
	}
	content := sha256.Sum256(text)
	s.mu.Lock()
	current, before := s.identity, s.content
	s.mu.Unlock()
	if current != nil && content == before && samePublic(current.Leaf().PublicKey, d.public) {
		return current, content, nil
	}
	identity, err := mtls.NewSignerIdentity(s.name, text, signer{s, d.public}, s.options.Now())
	if err != nil {
		return nil, content, fmt.Errorf("certificate in %s, private key in %s: %w", s.place(), s.config.tokenName(), err)
	}
	return identity, content, nil
}

// look goes after token and certificate once.
func (s *Source) look(ctx context.Context) {
	s.looking.Lock()
	defer s.looking.Unlock()
	if d := s.current(); d != nil {
		_, err := within(ctx, signTime, func() (struct{}, error) { return struct{}{}, d.check() })
		if ctx.Err() != nil {
			return
		}
		s.doubt(ctx, d, err)
	}
	d, err := s.reopen(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.report(ctx, slog.LevelError, "token of a client identity cannot be used, nothing can be sent with it", err)
	default:
		s.renew(ctx, d)
	}
}

// renew takes up a certificate that has changed. One that cannot be used changes
// nothing, and is tried again at every look.
func (s *Source) renew(ctx context.Context, d *device) {
	next, content, err := s.load(ctx, d)
	if ctx.Err() != nil {
		return
	}
	s.doubt(ctx, d, err)
	s.mu.Lock()
	current := s.identity
	s.problem = err
	if err == nil {
		s.identity, s.content = next, content
	}
	s.mu.Unlock()
	expired := s.now().CheckTime(s.options.Now())
	switch {
	case expired != nil:
		s.report(ctx, slog.LevelError, "client identity has expired, nothing can be sent with it", errors.Join(expired, err))
	case err != nil:
		s.report(ctx, slog.LevelWarn, "changed certificate of a client identity cannot be used, keeping the current one", err)
	default:
		s.report(ctx, slog.LevelInfo, "", nil)
	}
	if err != nil || next.Generation() == current.Generation() {
		return
	}
	s.options.Logger.LogAttrs(ctx, slog.LevelInfo, "client identity renewed",
		slog.Any("identity", next), slog.String("previous_fingerprint", current.Fingerprint()))
	if s.options.OnChange != nil {
		s.options.OnChange(next)
	}
}

// report logs trouble once, until it is another or over.
func (s *Source) report(ctx context.Context, level slog.Level, message string, err error) {
	text := fmt.Sprint(message, err)
	if err == nil {
		text = ""
	}
	s.mu.Lock()
	known := s.logged == text
	s.logged = text
	s.mu.Unlock()
	if !known && err != nil {
		s.options.Logger.LogAttrs(ctx, level, message, slog.String("identity", s.name), slog.Any("error", err)) //nolint:sloglint // a table of three
	}
}
