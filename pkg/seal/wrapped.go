package seal

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

const (
	// wrappedFormat is how a file with a wrapped master key begins to tell what it
	// is, so that it is never taken for a plain one, nor a plain one for it.
	wrappedFormat = "handfast wrapped master key 1"
	// maxWrapped, in bytes, bounds what a KMS may make of 32 bytes. AWS makes about
	// 180 of them.
	maxWrapped = 2048
)

// Wrapper encrypts and decrypts a few bytes under a key that it does not give out:
// a key management service. Package kms makes one from a URL.
type Wrapper interface {
	Encrypt(ctx context.Context, plain []byte) ([]byte, error)
	Decrypt(ctx context.Context, wrapped []byte) ([]byte, error)
}

// wrapped is a wrapped master key as it is stored: one line of JSON.
type wrapped struct {
	Format    string `json:"format"`
	MasterKey string `json:"kid"`
	Wrapped   []byte `json:"wrapped"`
}

// Wrap encrypts the master key by w, and returns one line of JSON for a file or a
// variable. Whoever has that line can open nothing without asking w. The error
// wraps [ErrInvalidMasterKey] for the zero master key; else it is w's.
func (m MasterKey) Wrap(ctx context.Context, w Wrapper) ([]byte, error) {
	if m.reveal == nil {
		return nil, fmt.Errorf("%w: none was given", ErrInvalidMasterKey)
	}
	raw, err := base64.StdEncoding.DecodeString(m.reveal())
	if err != nil { // cannot happen: reveal wrote it
		return nil, fmt.Errorf("%w: it cannot be read", ErrInvalidMasterKey)
	}
	defer clear(raw)
	closed, err := w.Encrypt(ctx, raw)
	if err != nil {
		return nil, fmt.Errorf("wrap the master key: %w", err)
	}
	if len(closed) == 0 || len(closed) > maxWrapped || bytes.Contains(closed, raw) {
		return nil, errors.New("wrap the master key: what came back is no ciphertext, so it is not kept")
	}
	text, err := json.Marshal(wrapped{Format: wrappedFormat, MasterKey: m.id, Wrapped: closed})
	if err != nil {
		return nil, fmt.Errorf("wrap the master key: %w", err)
	}
	return append(text, '\n'), nil
}

// IsWrapped reports whether the text claims to be a wrapped master key.
func IsWrapped(text []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(text), []byte("{"))
}

// WrappedKey is a master key that only a [Wrapper] can open. It was read and
// checked without asking one. However it is printed, its bytes do not show. The
// zero value opens to nothing.
type WrappedKey struct {
	id string
	// A function, because what it closes over cannot be reached by reflection.
	closed func() []byte
}

// ParseWrapped reads what [MasterKey.Wrap] returned. The error wraps
// [ErrInvalidMasterKey] and never repeats the text.
func ParseWrapped(text []byte) (WrappedKey, error) {
	text = bytes.TrimSpace(text)
	if len(text) > maxMasterFile || !IsWrapped(text) {
		return WrappedKey{}, fmt.Errorf("%w: it is not one that a KMS has wrapped; `handfast key master create --kms URL` makes one", ErrInvalidMasterKey)
	}
	var w wrapped
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	// The decoder's errors could quote the text, so they stay here.
	if err := decoder.Decode(&w); err != nil || w.Format != wrappedFormat {
		return WrappedKey{}, fmt.Errorf("%w: it is not in the form that `handfast key master create` writes; a newer program may have written it", ErrInvalidMasterKey)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return WrappedKey{}, fmt.Errorf("%w: something follows the wrapped key", ErrInvalidMasterKey)
	}
	if !validMasterKeyID(w.MasterKey) || len(w.Wrapped) == 0 || len(w.Wrapped) > maxWrapped {
		return WrappedKey{}, fmt.Errorf("%w: its id or its content is missing or too long; it was cut or changed", ErrInvalidMasterKey)
	}
	return WrappedKey{id: w.MasterKey, closed: func() []byte { return bytes.Clone(w.Wrapped) }}, nil
}

// LoadWrapped is [ParseWrapped] of a file. It is less than a secret, and is held to
// the same permissions as [LoadMasterKey] does all the same: whoever can replace it
// chooses what is sealed with.
func LoadWrapped(path string) (WrappedKey, error) {
	text, err := readPrivate(path)
	if err != nil {
		return WrappedKey{}, err
	}
	key, err := ParseWrapped(text)
	if err != nil {
		return WrappedKey{}, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// ID names the master key inside, as [MasterKey.ID] will.
func (k WrappedKey) ID() string { return k.id }

// Open asks w once for the master key. It is w's error if that cannot be reached
// or refuses, and wraps [ErrInvalidMasterKey] if what comes back is not the key
// that was wrapped.
func (k WrappedKey) Open(ctx context.Context, w Wrapper) (MasterKey, error) {
	if k.closed == nil {
		return MasterKey{}, fmt.Errorf("%w: none was given", ErrInvalidMasterKey)
	}
	raw, err := w.Decrypt(ctx, k.closed())
	if err != nil {
		return MasterKey{}, fmt.Errorf("unwrap master key %s: %w", k.id, err)
	}
	// The master key keeps raw, which is not cleared here.
	if len(raw) != MasterKeySize {
		clear(raw)
		return MasterKey{}, fmt.Errorf("%w: what the KMS opened has another length than %d bytes; it was made by something else", ErrInvalidMasterKey, MasterKeySize)
	}
	key, err := newMasterKey(raw)
	if err == nil && key.id != k.id {
		err = fmt.Errorf("%w: the KMS opened %s where the file says %s; the file was changed", ErrInvalidMasterKey, key.id, k.id)
	}
	if err != nil {
		return MasterKey{}, err
	}
	return key, nil
}

// String describes the key by its id.
func (k WrappedKey) String() string { return "wrapped master key " + k.id + " " + redacted }

// GoString is [WrappedKey.String].
func (k WrappedKey) GoString() string { return k.String() }

// Format writes [WrappedKey.String] for every verb.
func (k WrappedKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// LogValue logs the id.
func (k WrappedKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText writes [WrappedKey.String], in JSON as well.
func (k WrappedKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }
