package token

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"

	"github.com/handfast/handfast/pkg/mtls"
)

// accept makes what a token that was just opened holds the current state, if key
// and certificate make an identity. A certificate file that is broken at that
// moment does not cost the identity that there was, as long as the key is the same.
func (s *Source) accept(ctx context.Context, d *device) error {
	identity, content, err := s.load(ctx, d)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		s.identity, s.content = identity, content
	case s.identity == nil || !samePublic(s.identity.Leaf().PublicKey, d.public):
		return err
	}
	s.problem = err
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
		return nil, content, fmt.Errorf("certificate in %s, private key in %s: %w", s.place(), s.token.config.tokenName(), err)
	}
	return identity, content, nil
}

// look goes after token and certificate once.
func (s *Source) look(ctx context.Context) {
	s.looking.Lock()
	defer s.looking.Unlock()
	d, err := s.token.look(ctx)
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
	s.token.doubt(ctx, d, err)
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
