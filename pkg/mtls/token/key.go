package token

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
)

// ErrNoKey is matched by the errors of a [Key] that cannot be used at the moment:
// its token is away, or holds another key under its name.
var ErrNoKey = errors.New("no usable key")

// maxWaiting is how many signatures may wait for one key beside those under way. A
// token that is slower than what is asked of it says so, and takes no more of its
// caller.
const maxWaiting = 48

// Key is a private key in a token, without a certificate: one that signs
// messages. It may be used by any number of goroutines. It opens the token when it
// is first needed, and again when the token was gone; there is nothing to run.
type Key struct {
	token *access
	slots chan struct{} // one for each session that signs
	asked atomic.Int64  // signatures under way and waiting

	mu     sync.Mutex // guards public
	public crypto.PublicKey
}

// NewKey makes a key of which only the config is checked; the token may be away.
// Its certificate has to be empty. The error is a [*ConfigError]. Changes and
// problems are logged. Close it when it is not needed any more.
func NewKey(config Config, logger *slog.Logger) (*Key, error) {
	return bareKey(config, logger, openDevice)
}

func bareKey(config Config, logger *slog.Logger, open opener) (*Key, error) {
	problems := config.problems()
	if config.Certificate != "" {
		problems = append(problems, "certificate has no place here: a key that signs messages has none")
	}
	if len(problems) > 0 {
		return nil, &ConfigError{Problems: problems}
	}
	k := &Key{slots: make(chan struct{}, config.sessions()-1)}
	k.token = &access{
		config: config, open: open, logger: logger, unusable: ErrNoKey, accept: k.accept, opening: make(chan struct{}, 1),
		owner: slog.Group("key", slog.String("token", config.Token+config.Serial), slog.String("object", config.keyName())),
	}
	return k, nil
}

// accept takes the public half of the first device for that of the key for good.
func (k *Key) accept(_ context.Context, d *device) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.public == nil {
		k.public = d.public
	}
	if !samePublic(k.public, d.public) {
		return fmt.Errorf("%s holds another %s than before", k.token.config.tokenName(), k.token.config.keyName())
	}
	return nil
}

// Public returns the public half, an ed25519.PublicKey, *ecdsa.PublicKey or
// *rsa.PublicKey, after opening the token if need be, which takes 20 s at most. The
// error matches [ErrNoKey] and says why the token cannot be used.
func (k *Key) Public(ctx context.Context) (crypto.PublicKey, error) {
	k.mu.Lock()
	public := k.public
	k.mu.Unlock()
	if public != nil {
		return public, nil
	}
	d, err := k.token.reopen(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoKey, err)
	}
	return d.public, nil
}

// Sign lets the token sign, as [crypto.Signer] does with its digest and options: a
// digest for ECDSA and RSA, the whole message with crypto.Hash(0) for Ed25519. It
// waits for a session of the token, and 10 s at most for the signature; when too
// many wait already, it fails at once. The error matches [ErrNoKey] if there is no
// token, or says what the token said.
func (k *Key) Sign(ctx context.Context, digest []byte, options crypto.SignerOpts) ([]byte, error) {
	defer k.asked.Add(-1)
	if k.asked.Add(1) > int64(cap(k.slots)+maxWaiting) {
		return nil, fmt.Errorf("%w: more than %d signatures wait for the %s in %s", errBusy, maxWaiting, k.token.config.keyName(), k.token.config.tokenName())
	}
	select {
	case k.slots <- struct{}{}:
		defer func() { <-k.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: all %d sessions with %s were busy: %w", errBusy, cap(k.slots), k.token.config.tokenName(), context.Cause(ctx))
	}
	public, err := k.Public(ctx)
	if err != nil {
		return nil, err
	}
	return k.token.sign(ctx, public, digest, options)
}

// Close logs out, and waits 10 s at most for signatures under way. Nothing is
// signed from then on. A second Close does nothing.
func (k *Key) Close() { k.token.shut() }
