package mtls

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// defaultInterval is how soon a renewed certificate is in use. It is far
	// below any overlap in which an old and a new certificate are both valid.
	defaultInterval = 2 * time.Second

	// maxFileSize, in bytes, is more than a chain of maxChain large certificates.
	maxFileSize = 1 << 20
)

// FileOptions are the choices of [WatchFiles]. Every zero value is a good one.
type FileOptions struct {
	// Interval between two looks at the files; 2 s when zero or negative.
	Interval time.Duration
	// Logger gets every change and every problem; nothing is logged when nil.
	Logger *slog.Logger
	// Now is the clock against which validity is checked; time.Now when nil.
	Now func() time.Time
	// OnChange, if not nil, is called by Run after another identity has come
	// into use, one call at a time. The first identity is no change.
	OnChange func(*Identity)
}

// FileSource is a [Source] that follows two files, for mounted secrets and tools
// that renew certificates in place. Run looks at their content, not at their
// dates, so that it makes no difference whether files are rewritten, renamed
// over or swapped behind a symbolic link:
//
//	            new content, usable            content unusable
//	current A ─────────────────────▶ current B ──────────────────▶ still B, logged once
//	                                     │
//	                                     └─ B expires ──▶ none: Identity says why
//
// A pair of which only one half has been replaced is unusable like any other
// broken one, and is tried again at every look.
type FileSource struct {
	name            string
	certificateFile string
	keyFile         string
	options         FileOptions

	state atomic.Pointer[fileState] // never nil

	looking sync.Mutex // serialises look, and guards logged
	logged  string     // the cause that was logged last; empty when all is well
}

// fileState is one immutable snapshot.
type fileState struct {
	identity *Identity
	content  [sha256.Size]byte // of the files that identity came from
	problem  error             // why the files as they are now cannot be used; nil when they are what identity came from
}

// WatchFiles reads the identity from two PEM files (which may be one and the
// same) and returns a source that follows them as long as its Run is running.
// The error is about the files as they are now: it wraps an [*IdentityError] or
// says which file cannot be read.
func WatchFiles(name, certificateFile, keyFile string, options FileOptions) (*FileSource, error) {
	if options.Interval <= 0 {
		options.Interval = defaultInterval
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	s := &FileSource{name: name, certificateFile: certificateFile, keyFile: keyFile, options: options}
	certificatePEM, keyPEM, err := s.read()
	if err != nil {
		return nil, err
	}
	identity, err := NewIdentity(name, certificatePEM, keyPEM, options.Now())
	if err != nil {
		return nil, s.describe(err)
	}
	s.state.Store(&fileState{identity: identity, content: contentSum(certificatePEM, keyPEM)})
	return s, nil
}

// Identity returns the current identity without touching the files. It fails
// with [ErrNoIdentity] once that has expired and no usable successor was found.
func (s *FileSource) Identity() (*Identity, error) {
	state := s.state.Load()
	err := state.identity.CheckTime(s.options.Now())
	switch {
	case err == nil:
		return state.identity, nil
	case state.problem != nil:
		return nil, fmt.Errorf("%w: %w; and its successor cannot be used: %w", ErrNoIdentity, err, state.problem)
	default:
		return nil, fmt.Errorf("%w: %w; put a new certificate and key into %q and %q, they are read again within %s",
			ErrNoIdentity, err, s.certificateFile, s.keyFile, s.options.Interval)
	}
}

// Run follows the files until ctx ends, and then returns nil. It returns for no
// other reason: whatever is wrong with the files may be put right again.
func (s *FileSource) Run(ctx context.Context) error {
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

// look compares the files with the current identity once.
func (s *FileSource) look(ctx context.Context) {
	s.looking.Lock()
	defer s.looking.Unlock()
	current := s.state.Load()
	certificatePEM, keyPEM, err := s.read()
	if err != nil {
		s.keep(ctx, current, err)
		return
	}
	content := contentSum(certificatePEM, keyPEM)
	if content == current.content {
		s.keep(ctx, current, nil)
		return
	}
	// Content that failed before is tried again, too: time may have cured it.
	next, err := NewIdentity(s.name, certificatePEM, keyPEM, s.options.Now())
	if err != nil {
		s.keep(ctx, current, s.describe(err))
		return
	}
	s.state.Store(&fileState{identity: next, content: content})
	s.logged = ""
	if next.Generation() == current.identity.Generation() {
		return // the same certificates, spelled differently
	}
	s.options.Logger.LogAttrs(ctx, slog.LevelInfo, "client identity renewed",
		slog.Any("identity", next), slog.String("previous_fingerprint", current.identity.Fingerprint()))
	if s.options.OnChange != nil {
		s.options.OnChange(next)
	}
}

// keep stays with the current identity and remembers why.
func (s *FileSource) keep(ctx context.Context, current *fileState, problem error) {
	expired := current.identity.CheckTime(s.options.Now())
	if problem != nil || current.problem != nil {
		s.state.Store(&fileState{identity: current.identity, content: current.content, problem: problem})
	}
	cause := problemCause(problem, expired != nil)
	if cause == s.logged {
		return
	}
	s.logged = cause
	switch {
	case expired != nil:
		s.options.Logger.LogAttrs(ctx, slog.LevelError, "client identity has expired, nothing can be sent with it",
			slog.Any("identity", current.identity), slog.Any("error", errors.Join(expired, problem)))
	case problem != nil:
		s.options.Logger.LogAttrs(ctx, slog.LevelWarn, "changed files of a client identity cannot be used, keeping the current one",
			slog.Any("identity", current.identity), slog.Any("error", problem))
	}
}

// problemCause makes two looks at one problem compare equal.
func problemCause(problem error, expired bool) string {
	switch {
	case problem == nil && !expired:
		return ""
	case problem == nil:
		return "expired"
	default:
		return fmt.Sprint(problem, expired)
	}
}

func (s *FileSource) describe(err error) error {
	return fmt.Errorf("files %q and %q: %w", s.certificateFile, s.keyFile, err)
}

func (s *FileSource) read() (certificatePEM, keyPEM []byte, err error) {
	certificatePEM, certificateErr := readSmallFile(s.certificateFile)
	keyPEM, keyErr := readSmallFile(s.keyFile)
	if err := errors.Join(certificateErr, keyErr); err != nil {
		return nil, nil, fmt.Errorf("client identity %q: %w", s.name, err)
	}
	return certificatePEM, keyPEM, nil
}

// readSmallFile refuses what is not a regular file before it opens it, because a
// pipe or a device could block for ever.
func readSmallFile(name string) (content []byte, err error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err //nolint:wrapcheck // names the operation and the file already
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%q is not a regular file (%s)", name, info.Mode().Type())
	}
	file, err := os.Open(name) //nolint:gosec // the operator names it
	if err != nil {
		return nil, err //nolint:wrapcheck // as above
	}
	defer func() { _ = file.Close() }() // it was only read
	content, err = io.ReadAll(io.LimitReader(file, maxFileSize+1))
	switch {
	case err != nil:
		return nil, err //nolint:wrapcheck // as above
	case len(content) > maxFileSize:
		return nil, fmt.Errorf("%q is larger than %d bytes: it is no certificate or key", name, maxFileSize)
	}
	return content, nil
}

// contentSum hashes both files apart, so that bytes cannot move from one to the
// other unseen.
func contentSum(certificatePEM, keyPEM []byte) [sha256.Size]byte {
	certificate, key := sha256.Sum256(certificatePEM), sha256.Sum256(keyPEM)
	return sha256.Sum256(append(certificate[:], key[:]...))
}
