package seal_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/seal"
)

// service is a KMS that turns bits around, and can be made to fail.
type service struct {
	asked int
	err   error
	out   func([]byte) []byte
}

func (s *service) Encrypt(_ context.Context, plain []byte) ([]byte, error) { return s.turn(plain) }

func (s *service) Decrypt(_ context.Context, closed []byte) ([]byte, error) { return s.turn(closed) }

func (s *service) turn(in []byte) ([]byte, error) {
	s.asked++
	if s.err != nil {
		return nil, s.err
	}
	if s.out != nil {
		return s.out(in), nil
	}
	out := bytes.Clone(in)
	for i := range out {
		out[i] ^= 0x5a
	}
	return out, nil
}

func wrap(t *testing.T, master seal.MasterKey) []byte {
	t.Helper()
	text, err := master.Wrap(t.Context(), new(service))
	require.NoError(t, err)
	return text
}

func TestAMasterKeyIsWrappedAndOpened(t *testing.T) {
	master, kms := masterKey(t), new(service)
	text, err := master.Wrap(t.Context(), kms)
	require.NoError(t, err)
	assert.Equal(t, 1, strings.Count(string(text), "\n"))
	assert.True(t, seal.IsWrapped(text))
	assert.False(t, seal.IsWrapped([]byte(master.Reveal())))
	key, err := seal.ParseWrapped(text)
	require.NoError(t, err)
	assert.Equal(t, master.ID(), key.ID(), "it is known which one it is before anybody is asked")
	assert.Equal(t, 1, kms.asked)
	opened, err := key.Open(t.Context(), kms)
	require.NoError(t, err)
	assert.Equal(t, master.Reveal(), opened.Reveal())

	path := filepath.Join(t.TempDir(), "wrapped")
	require.NoError(t, os.WriteFile(path, text, 0o644))
	_, err = seal.LoadWrapped(path)
	require.ErrorContains(t, err, "chmod 600")
	require.NoError(t, os.Chmod(path, 0o600))
	key, err = seal.LoadWrapped(path)
	require.NoError(t, err)
	assert.Equal(t, master.ID(), key.ID())
}

// TestAWrappedKeyIsNoPlainOne: each is refused in the place of the other, in words.
func TestAWrappedKeyIsNoPlainOne(t *testing.T) {
	master := masterKey(t)
	text := wrap(t, master)
	_, err := seal.ParseMasterKey(string(text))
	require.ErrorIs(t, err, seal.ErrInvalidMasterKey)
	require.ErrorContains(t, err, "--master-key-kms")
	_, err = seal.ParseWrapped([]byte(master.Reveal()))
	require.ErrorIs(t, err, seal.ErrInvalidMasterKey)
	require.ErrorContains(t, err, "handfast key master create --kms URL")
	assert.NotContains(t, err.Error(), master.Reveal())
}

func TestWrappedKeysThatAreDamaged(t *testing.T) {
	master := masterKey(t)
	good := wrap(t, master)
	closed := base64.StdEncoding.EncodeToString(turned(t, master))
	change := func(field string, value any) []byte {
		var m map[string]any
		require.NoError(t, json.Unmarshal(good, &m))
		m[field] = value
		out, err := json.Marshal(m)
		require.NoError(t, err)
		return out
	}
	for name, text := range map[string][]byte{
		"empty": nil, "cut": good[:len(good)/2], "two": append(bytes.Clone(good), good...), "another format": change("format", "x"),
		"unknown field": change("extra", 1), "no id": change("kid", ""), "an id that is none": change("kid", "a\nb"),
		"no content": change("wrapped", ""), "not base64": change("wrapped", "!"+closed), "long": change("wrapped", strings.Repeat("AAAA", 1000)),
		"huge": append([]byte("{"), bytes.Repeat([]byte(" "), 1<<20)...),
	} {
		_, err := seal.ParseWrapped(text)
		require.ErrorIs(t, err, seal.ErrInvalidMasterKey, name)
		assert.NotContains(t, err.Error(), closed[:12], name)
		assert.Less(t, len(err.Error()), 300, name)
	}
	another, err := seal.ParseWrapped(change("kid", masterKey(t).ID()))
	require.NoError(t, err)
	_, err = another.Open(t.Context(), new(service))
	require.ErrorContains(t, err, "the file was changed")
	_, err = seal.WrappedKey{}.Open(t.Context(), new(service))
	require.ErrorIs(t, err, seal.ErrInvalidMasterKey)
}

// turned is what the service makes of a master key.
func turned(t *testing.T, master seal.MasterKey) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(master.Reveal())
	require.NoError(t, err)
	out, err := new(service).turn(raw)
	require.NoError(t, err)
	return out
}

func TestAServiceThatMisbehaves(t *testing.T) {
	master := masterKey(t)
	away := errors.New("away")
	_, err := master.Wrap(t.Context(), &service{err: away})
	require.ErrorIs(t, err, away)
	for name, out := range map[string]func([]byte) []byte{
		"gives it back":    func(in []byte) []byte { return in },
		"says nothing":     func([]byte) []byte { return nil },
		"says too much":    func([]byte) []byte { return make([]byte, 3000) },
		"hides it in part": func(in []byte) []byte { return append([]byte("v1:"), in...) },
	} {
		_, err := master.Wrap(t.Context(), &service{out: out})
		require.ErrorContains(t, err, "no ciphertext", name)
	}
	_, err = seal.MasterKey{}.Wrap(t.Context(), new(service))
	require.ErrorIs(t, err, seal.ErrInvalidMasterKey)

	key, err := seal.ParseWrapped(wrap(t, master))
	require.NoError(t, err)
	_, err = key.Open(t.Context(), &service{err: away})
	require.ErrorIs(t, err, away)
	require.ErrorContains(t, err, master.ID())
	for name, out := range map[string][]byte{"short": make([]byte, 31), "long": make([]byte, 33), "zeros": make([]byte, 32), "another": bytes.Repeat([]byte("x"), 32)} {
		_, err := key.Open(t.Context(), &service{out: func([]byte) []byte { return out }})
		require.ErrorIs(t, err, seal.ErrInvalidMasterKey, name)
	}
}

// TestAWrappedKeyDoesNotPrint: what is wrapped is no secret by itself, and is not shown all the same.
func TestAWrappedKeyDoesNotPrint(t *testing.T) {
	master := masterKey(t)
	key, err := seal.ParseWrapped(wrap(t, master))
	require.NoError(t, err)
	closed := turned(t, master)
	type hidden struct{ key seal.WrappedKey }
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	for _, value := range []any{key, &key, hidden{key}, &hidden{key}, []seal.WrappedKey{key}} {
		shown := []string{fmt.Sprint(value)}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			shown = append(shown, fmt.Sprintf(verb, value))
		}
		text, err := json.Marshal(value)
		require.NoError(t, err)
		logger.Info("x", slog.Any("value", value))
		for _, s := range append(shown, string(text), log.String()) {
			for _, secret := range []string{
				base64.StdEncoding.EncodeToString(closed)[:16], hex.EncodeToString(closed[:8]), string(closed[:8]),
				strings.Trim(fmt.Sprintf("%d", closed[:8]), "[]"), master.Reveal()[:16],
			} {
				assert.NotContains(t, s, secret, "%T", value)
			}
		}
	}
	assert.Equal(t, "wrapped master key "+master.ID()+" [redacted]", key.String())
}

func FuzzParseWrapped(f *testing.F) {
	f.Add([]byte(`{"format":"handfast wrapped master key 1","kid":"0123456789abcdef","wrapped":"AAAA"}`))
	f.Add([]byte(`{}`))
	f.Add([]byte("00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := seal.ParseWrapped(text)
		if (err == nil) != (key.ID() != "") {
			t.Fatalf("%q: %v", text, err)
		}
		if err == nil {
			if _, err := key.Open(t.Context(), &service{err: errors.New("no")}); err == nil {
				t.Fatal("opened without the KMS")
			}
		}
	})
}
