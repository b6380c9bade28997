package kms

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"gocloud.dev/gcerrors"
	"gocloud.dev/secrets"
	_ "gocloud.dev/secrets/awskms"        // awskms:
	_ "gocloud.dev/secrets/azurekeyvault" // azurekeyvault:
	_ "gocloud.dev/secrets/gcpkms"        // gcpkms:
	_ "gocloud.dev/secrets/hashivault"    // hashivault:
)

// askTime bounds one question to a service. A start that fails is tried again.
const askTime = 10 * time.Second

// CauseError is what a caller may have to decide on.
type CauseError string

// The closed list of causes; errors of this package match one of them.
const (
	// ErrURL means that the URL names no service and key that we know.
	ErrURL CauseError = "the URL of the KMS cannot be used"
	// ErrAway means that the service could not be reached or did not answer: it is
	// worth trying again.
	ErrAway CauseError = "the KMS cannot be reached"
	// ErrRefused means that the service answered no: the key is disabled, revoked or
	// another one, or we may not use it.
	ErrRefused CauseError = "the KMS refuses"
)

// Error is the cause in words.
func (e CauseError) Error() string { return string(e) }

// Schemes lists how the URLs of services begin, sorted.
func Schemes() []string { return slices.Sorted(slices.Values(secrets.DefaultURLMux().KeeperSchemes())) }

// Check says what is wrong with a URL without asking anybody. The error matches
// [ErrURL] and repeats no more of the URL than its scheme.
func Check(text string) error {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return fmt.Errorf("%w: it is empty; it begins with one of %s", ErrURL, schemes())
	case err != nil || u.Scheme == "":
		return fmt.Errorf("%w: it is not SERVICE://KEY; it begins with one of %s", ErrURL, schemes())
	case !slices.Contains(Schemes(), u.Scheme):
		return fmt.Errorf("%w: the service %.40q is not built in; use one of %s", ErrURL, u.Scheme, schemes())
	case u.User != nil:
		return fmt.Errorf("%w: it holds a user or a password, which everybody on this machine can read; each service has its own place for them", ErrURL)
	case u.Host+u.Path+u.Opaque == "":
		return fmt.Errorf("%w: no key follows %s://", ErrURL, u.Scheme)
	}
	return nil
}

func schemes() string { return strings.Join(Schemes(), "://, ") + "://" }

// Keeper is one key of one service. It may be used by several goroutines.
type Keeper struct {
	keeper *secrets.Keeper
	scheme string
}

// Open prepares to ask a service, for which some look for their credentials. It
// takes 10 s at most. The error matches [ErrURL], [ErrAway] or [ErrRefused]. Close
// the keeper when it is not needed any more.
func Open(ctx context.Context, text string) (*Keeper, error) {
	if err := Check(text); err != nil {
		return nil, err
	}
	scheme, rest, _ := strings.Cut(text, ":")
	keeper, err := ask(ctx, func(ctx context.Context) (*secrets.Keeper, error) { return secrets.OpenKeeper(ctx, text) })
	if err != nil {
		// Drivers quote the URL, of which the operator knows what it is, and a
		// driver for tests has its key in it.
		return nil, inWords(scheme, err, []byte(strings.TrimLeft(rest, "/")))
	}
	return &Keeper{keeper: keeper, scheme: scheme}, nil
}

// Encrypt lets the service encrypt a few bytes. It takes 10 s at most. The error
// matches [ErrAway] or [ErrRefused], and never holds what was to be encrypted.
func (k *Keeper) Encrypt(ctx context.Context, plain []byte) ([]byte, error) {
	out, err := ask(ctx, func(ctx context.Context) ([]byte, error) { return k.keeper.Encrypt(ctx, slices.Clone(plain)) })
	if err != nil {
		return nil, inWords(k.scheme, err, plain)
	}
	return out, nil
}

// Decrypt lets the service decrypt what Encrypt returned. It takes 10 s at most.
// The error matches [ErrAway] or [ErrRefused], and never holds what was to be
// decrypted.
func (k *Keeper) Decrypt(ctx context.Context, wrapped []byte) ([]byte, error) {
	out, err := ask(ctx, func(ctx context.Context) ([]byte, error) { return k.keeper.Decrypt(ctx, slices.Clone(wrapped)) })
	if err != nil {
		return nil, inWords(k.scheme, err, wrapped)
	}
	return out, nil
}

// Close lets the connections go.
func (k *Keeper) Close() error {
	if err := k.keeper.Close(); err != nil {
		return fmt.Errorf("close the connection to the KMS (%s): %w", k.scheme, err)
	}
	return nil
}

// errPanic is what a driver did instead of answering.
var errPanic = errors.New("its answer is not one that the driver understands")

// ask waits no longer than askTime: not every driver minds its context, nor stands
// every answer.
func ask[T any](ctx context.Context, question func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		var a answer
		defer func() {
			if recover() != nil { // what it panics with could hold a secret
				a.err = errPanic
			}
			answers <- a
		}()
		a.value, a.err = question(ctx)
	}()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// inWords tells whether it is worth trying again, and leaves secret out of what
// the driver says, in any form in which it could stand there.
func inWords(scheme string, err error, secret []byte) error {
	cause := ErrAway
	refusals := []gcerrors.ErrorCode{gcerrors.NotFound, gcerrors.InvalidArgument, gcerrors.FailedPrecondition, gcerrors.PermissionDenied, gcerrors.Unimplemented}
	if slices.Contains(refusals, gcerrors.Code(err)) {
		cause = ErrRefused
	}
	text := strings.Join(strings.Fields(err.Error()), " ")
	for _, refusal := range []string{"Code: 400", "Code: 403", "Code: 404"} { // of a Vault, which its driver does not tell apart
		if strings.Contains(text, refusal) {
			cause = ErrRefused
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		cause, text = ErrAway, fmt.Sprintf("nothing came within %s", askTime)
	}
	for _, form := range []string{
		string(secret), base64.StdEncoding.EncodeToString(secret), base64.RawStdEncoding.EncodeToString(secret),
		base64.URLEncoding.EncodeToString(secret), base64.RawURLEncoding.EncodeToString(secret), hex.EncodeToString(secret), fmt.Sprintf("%d", secret),
	} {
		if form != "" {
			text = strings.ReplaceAll(text, form, "…")
		}
	}
	return fmt.Errorf("%w (%s): %.400s", cause, scheme, text)
}

// String names the service only: what is inside holds our credentials there.
func (k *Keeper) String() string { return "key of a KMS (" + k.scheme + ")" }

// GoString is [Keeper.String].
func (k *Keeper) GoString() string { return k.String() }

// Format writes [Keeper.String] for every verb.
func (k *Keeper) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// LogValue logs the name of the service.
func (k *Keeper) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText writes [Keeper.String], in JSON as well.
func (k *Keeper) MarshalText() ([]byte, error) { return []byte(k.String()), nil }
