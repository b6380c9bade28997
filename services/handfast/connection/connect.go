package connection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/stream"
)

// Connect opens the connection of a service. It returns at once, also while no server can be reached: the connection
// then comes up by itself, as it does after every loss. Answers arrive below _INBOX.<name>. The error lists every wrong
// flag.
func (f *Flags) Connect(name string, logger *slog.Logger) (*nats.Conn, error) {
	options, problems := f.options()
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	servers := f.Name()
	// A user that does not exist yet is waited for like a server that is down. Inbox comes last, so that it wins.
	options = append([]nats.Option{
		nats.IgnoreAuthErrorAbort(),
		nats.ConnectHandler(func(nc *nats.Conn) {
			logger.Info("connected to NATS", slog.String("server", nc.ConnectedServerName()))
		}),
		nats.ReconnectErrHandler(told(servers, logger)),
	}, options...)
	return stream.Connect(name, strings.Join(f.Server, ","), logger, options...) //nolint:wrapcheck // says what already
}

// quiet is how often a server that stays away is told about.
const quiet = 10 * time.Second

// told says now and then that NATS is away: the client tries several times a second.
func told(servers string, logger *slog.Logger) func(*nats.Conn, error) {
	var mu sync.Mutex
	var last time.Time
	return func(_ *nats.Conn, err error) {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(last) < quiet {
			return
		}
		last = time.Now()
		logger.Warn("cannot reach NATS; trying on", slog.String("servers", servers), slog.Any("error", err), slog.String("advice", advice(err)))
	}
}

// commandInbox is where the answers to every command arrive, whatever its name: an operator is one NATS user.
const commandInbox = "_INBOX.operator"

// Session is a command's connection. Close it.
type Session struct {
	NATS *nats.Conn
	JS   jetstream.JetStream
	// Topology is what was chosen when `handfast topology apply` ran.
	Topology stream.Topology

	mu      sync.Mutex
	refused error
}

// Close ends the connection. What was published asynchronously and not waited for may be lost.
func (s *Session) Close() { s.NATS.Close() }

// Explain adds to an error what the server refused meanwhile. NATS tells of a missing permission beside the call, which
// itself only times out.
func (s *Session) Explain(err error) error {
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused == nil {
		return err
	}
	return fmt.Errorf("%w\n  NATS refused: %w\n  this needs a user with more permissions; deploy/nats/handfast.conf has one for operators", err, s.refused)
}

func (s *Session) note(_ *nats.Conn, _ *nats.Subscription, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = err
}

// Open connects a command to a server on which Handfast may not have been set up yet: Topology is zero.
func (f *Flags) Open(ctx context.Context, name string) (*Session, error) {
	options, problems := f.options()
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	timeout := nats.DefaultTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(time.Millisecond, min(timeout, time.Until(deadline)))
	}
	s := &Session{}
	options = append([]nats.Option{
		nats.RetryOnFailedConnect(false), nats.Timeout(timeout), nats.CustomInboxPrefix(commandInbox), nats.ErrorHandler(s.note),
	}, options...)
	var err error
	s.NATS, err = stream.Connect("handfast-"+strings.ReplaceAll(name, " ", "-"), strings.Join(f.Server, ","), slog.New(slog.DiscardHandler), options...)
	if err != nil {
		return nil, f.failed(err)
	}
	if s.JS, err = jetstream.New(s.NATS); err != nil {
		s.NATS.Close()
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	return s, nil
}

// Dial connects a command to a Handfast that has been set up. It fails at once, with words.
func (f *Flags) Dial(ctx context.Context, name string) (*Session, error) {
	s, err := f.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	if s.Topology, err = stream.LoadTopology(ctx, s.JS); err != nil {
		err = s.Explain(err)
		s.Close()
		return nil, err
	}
	return s, nil
}

// failed says what keeps a command from connecting, and what to do.
func (f *Flags) failed(err error) error {
	if errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout) {
		return fmt.Errorf("no NATS server at %s; start `handfast dev`, or name it with --server: %w", f.Name(), err)
	}
	return fmt.Errorf("NATS at %s: %w\n  %s", f.Name(), err, advice(err))
}

// advice is what to do about a failed connect.
func advice(err error) string {
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		return "the server does not know this user, or not with this secret; check --nats-credentials, --nats-user or --nats-nkey"
	case errors.Is(err, nats.ErrSecureConnRequired):
		return "the server wants TLS; use a tls:// URL, and --nats-ca when its authority is your own"
	case errors.Is(err, nats.ErrSecureConnWanted):
		return "the server speaks no TLS; use a nats:// URL without --nats-ca"
	case strings.Contains(err.Error(), "x509:") || strings.Contains(err.Error(), "tls:"):
		return "certificates do not fit; check --nats-ca, --nats-certificate and --nats-key"
	}
	return "check that the server runs and that --server names it"
}
