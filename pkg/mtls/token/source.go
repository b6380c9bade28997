package token

import (
	"context"
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/handfast/handfast/pkg/mtls"
)

const (
	defaultInterval = 2 * time.Second
	openTime        = 20 * time.Second // to load a module, log in and find the key
	signTime        = 10 * time.Second // for one signature, waiting for a session included

	// Between tries to open a token again: first at once, for the signatures that wait, and then by Run.
	restartPause        = 50 * time.Millisecond
	longestRestartPause = 400 * time.Millisecond
	firstDelay          = time.Second
	longestDelay        = time.Minute
)

// Options are the choices of [Open]. Every zero value is a good one.
type Options struct {
	// Interval between two looks at the certificate and at the token; 2 s when
	// zero or negative.
	Interval time.Duration
	// Logger gets every change and every problem; nothing is logged when nil.
	Logger *slog.Logger
	// Now is the clock against which validity is checked; time.Now when nil.
	Now func() time.Time
	// OnChange, if not nil, is called by Run after another certificate has come
	// into use, one call at a time. The first one is no change.
	OnChange func(*mtls.Identity)
}

// Source is an [mtls.Source] whose private key is in a token. It may be used by
// any number of goroutines.
type Source struct {
	state // guarded by mu

	name    string
	options Options
	token   *access

	looking sync.Mutex // serialises look

	mu sync.Mutex // guards state; never held while the module is called
}

type state struct {
	identity *mtls.Identity
	content  [sha256.Size]byte // of the PEM text that identity came from
	problem  error             // why the certificate as it is now cannot be used
	logged   string            // the trouble that was logged last; empty when all is well
}

// Open opens the token, finds the key and reads the certificate, and returns a
// source that follows them as long as its Run is running. It takes 20 s at most.
//
// The error says everything that is wrong with config ([*ConfigError]), wraps an
// [*mtls.IdentityError] when key and certificate make no identity, matches
// [ErrWithoutCgo], or says what the token said.
func Open(ctx context.Context, name string, config Config, options Options) (*Source, error) {
	return open(ctx, name, config, options, openDevice)
}

func open(ctx context.Context, name string, config Config, options Options, opener opener) (*Source, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("client identity %q: %w", name, err)
	}
	if options.Interval <= 0 {
		options.Interval = defaultInterval
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	s := &Source{name: name, options: options}
	s.token = &access{
		config: config, open: opener, logger: options.Logger, owner: slog.String("identity", name),
		unusable: mtls.ErrNoIdentity, accept: s.accept, opening: make(chan struct{}, 1),
	}
	if _, err := s.token.reopen(ctx); err != nil {
		s.Close() // what a token that hangs may still give is not wanted
		return nil, fmt.Errorf("client identity %q: %w", name, err)
	}
	return s, nil
}

// Identity returns the current identity without asking the token. It fails with
// [mtls.ErrNoIdentity] while the token cannot be used, and once the certificate
// has expired.
func (s *Source) Identity() (*mtls.Identity, error) {
	if lost := s.token.trouble(); lost != nil {
		return nil, fmt.Errorf("%w: client identity %q: %w", mtls.ErrNoIdentity, s.name, lost)
	}
	s.mu.Lock()
	now := s.state
	s.mu.Unlock()
	err := now.identity.CheckTime(s.options.Now())
	switch {
	case err == nil:
		return now.identity, nil
	case now.problem != nil:
		return nil, fmt.Errorf("%w: %w; and its successor cannot be used: %w", mtls.ErrNoIdentity, err, now.problem)
	default:
		return nil, fmt.Errorf("%w: %w; put a new certificate into %s, it is read again within %s",
			mtls.ErrNoIdentity, err, s.place(), s.options.Interval)
	}
}

// Run follows certificate and token until ctx ends, and then returns nil. It
// leaves the token open, because connections may still need it: see Close.
func (s *Source) Run(ctx context.Context) error {
	ticker := time.NewTicker(s.options.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			s.look(ctx)
		}
	}
}

// Close logs out, and waits 10 s at most for signatures under way. Identity and
// every identity that it gave fail from then on. A second Close does nothing.
func (s *Source) Close() { s.token.shut() }

func (s *Source) current() *device { return s.token.current() }

func (s *Source) now() *mtls.Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.identity
}

// place is where a new certificate goes.
func (s *Source) place() string {
	if s.token.config.Certificate != "" {
		return fmt.Sprintf("%q", s.token.config.Certificate)
	}
	return s.token.config.tokenName()
}

// certificatePEM reads the certificate from where it is.
func (s *Source) certificatePEM(ctx context.Context, d *device) ([]byte, error) {
	if s.token.config.Certificate != "" {
		return readSmallFile(s.token.config.Certificate)
	}
	return within(ctx, signTime, func() ([]byte, error) {
		certificate, err := d.certificate()
		if err != nil {
			return nil, err
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}), nil
	})
}
