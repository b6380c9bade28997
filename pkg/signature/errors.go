package signature

import (
	"errors"

	"github.com/handfast/handfast/pkg/seal"
)

// What a caller may have to decide on when signing or reading keys. Every error
// of this package that has one of these causes wraps it; none of them ever
// carries a secret or a signature.
var (
	// ErrUnknownScheme means that a scheme's name is not one of [Schemes].
	ErrUnknownScheme = errors.New("unknown signature scheme")
	// ErrNoActiveKey means that a scheme has no active key, so nothing was
	// signed. The delivery has to wait until there is one.
	ErrNoActiveKey = errors.New("no active key")
	// ErrInvalidRequest means that the request cannot be signed as it is (its id,
	// its time), whatever the keys.
	ErrInvalidRequest = errors.New("request cannot be signed")
	// ErrFieldConflict means that two schemes want different values for one
	// header field that cannot hold both.
	ErrFieldConflict = errors.New("schemes disagree about a header field")
	// ErrInvalidKey means that a secret or a public key is not written in the
	// format of its scheme, or that a key's id or state is wrong.
	ErrInvalidKey = errors.New("invalid key")
)

// What can be wrong with sealed keys and the master keys that seal them. They are
// those of package seal.
const (
	// ErrInvalidMasterKey means that a master key could not be read: its format,
	// its length, or the permissions of its file.
	ErrInvalidMasterKey = seal.ErrInvalidMasterKey
	// ErrWrongMasterKey means that the ring was sealed under a master key that we
	// do not hold. The sealed bytes may be perfectly fine.
	ErrWrongMasterKey = seal.ErrWrongMasterKey
	// ErrCorrupt means that the sealed bytes were changed, cut, or sealed for
	// another endpoint.
	ErrCorrupt = seal.ErrCorrupt
)

// Why a received request is not accepted.
var (
	// ErrMissingHeader means that a header field (for [Twilio], a part of the
	// query) that carries the signature, or that is signed, is absent.
	ErrMissingHeader = errors.New("webhook header missing")
	// ErrMalformed means that such a field is there but is not in the form of its
	// scheme, is doubled, or is longer than allowed.
	ErrMalformed = errors.New("webhook header malformed")
	// ErrTooOld means that the request was signed longer ago than the tolerance.
	ErrTooOld = errors.New("webhook timestamp too old")
	// ErrTooNew means that the request was signed further in the future than the
	// tolerance.
	ErrTooNew = errors.New("webhook timestamp too far in the future")
	// ErrNoMatch means that no signature was made over this request by a key that
	// the receiver accepts.
	ErrNoMatch = errors.New("no matching webhook signature")
	// ErrNoVerifier means that the receiver accepts no key at all, which is a
	// mistake in its configuration and not of the sender.
	ErrNoVerifier = errors.New("no key to verify with")
)
