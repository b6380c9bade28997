package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "gocloud.dev/secrets/localsecrets" // base64key:, which production does not have

	"github.com/handfast/handfast/pkg/mtls/token"
	"github.com/handfast/handfast/pkg/seal"
	"github.com/handfast/handfast/pkg/seal/kms"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/services/handfast/custody"
	"github.com/handfast/handfast/services/signer"
)

// forms are the ways in which some secret bytes could be shown. Text may be shown as such, or as bytes.
func forms(raw []byte) []string {
	start := raw[:12]
	decimals := strings.Trim(fmt.Sprintf("%d", start), "[]")
	return []string{
		string(start), hex.EncodeToString(start), strings.ToUpper(hex.EncodeToString(start)),
		base64.StdEncoding.EncodeToString(start), base64.URLEncoding.EncodeToString(start),
		decimals, strings.ReplaceAll(decimals, " ", ", "), strings.ReplaceAll(decimals, " ", ","),
		strings.Trim(fmt.Sprintf("%#v", start), "[]byte{}"), fmt.Sprintf("% x", start), strings.Trim(strconv.Quote(string(start)), `"`),
	}
}

// prints is everything that a program can do to show a value.
func prints(t *testing.T, value any) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		out[verb] = fmt.Sprintf(verb, value)
	}
	if s, ok := value.(fmt.Stringer); ok {
		out["String"] = s.String()
	}
	if text, err := json.Marshal(value); err == nil { // a function cannot be written, and shows nothing
		out["JSON"] = string(text)
	}
	var log bytes.Buffer
	for _, logger := range []*slog.Logger{slog.New(slog.NewTextHandler(&log, nil)), slog.New(slog.NewJSONHandler(&log, nil))} {
		logger.Info("x", slog.Any("value", value))
	}
	out["slog"] = log.String()
	out["error"] = fmt.Errorf("about %v", value).Error()
	return out
}

// hidden has a secret in a field that fmt reaches without our methods.
type hidden struct{ value any }

// TestNothingThatHoldsAKeyShowsIt prints every type that holds a key, or the way to one, in every way.
func TestNothingThatHoldsAKeyShowsIt(t *testing.T) {
	var secrets []string
	add := func(raw []byte) { secrets = append(secrets, forms(raw)...) }
	master, err := seal.GenerateMasterKey(rand.Reader)
	require.NoError(t, err)
	raw, err := base64.StdEncoding.DecodeString(master.Reveal())
	require.NoError(t, err)
	add(raw)
	add([]byte(master.Reveal()))

	outer := make([]byte, 32)
	_, _ = rand.Read(outer)
	add(outer)
	keeper, err := kms.Open(t.Context(), "base64key://"+base64.URLEncoding.EncodeToString(outer))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, keeper.Close()) })
	text, err := master.Wrap(t.Context(), keeper)
	require.NoError(t, err)
	wrapped, err := seal.ParseWrapped(text)
	require.NoError(t, err)

	var keys []signature.Key
	values := []any{}
	for _, scheme := range signature.Schemes() {
		key, err := signature.GenerateKey(scheme, time.Now(), rand.Reader)
		require.NoError(t, err)
		key.State = signature.Active
		secret := key.Reveal()
		add([]byte(secret[len(secret)-24:]))
		if _, encoded, found := strings.Cut(secret, "_"); found {
			if raw, err := base64.StdEncoding.DecodeString(encoded); err == nil {
				add(raw)
			}
		}
		verifier, err := key.Verifier()
		require.NoError(t, err)
		keys = append(keys, key)
		values = append(values, key, verifier)
	}
	ring, err := signature.NewRing(keys...)
	require.NoError(t, err)

	const pin = "7391-right-pin"
	add([]byte(pin))
	file := filepath.Join(t.TempDir(), "pin")
	require.NoError(t, os.WriteFile(file, []byte(pin), 0o600))
	config := token.Config{Module: "/nowhere/module.so", Token: "acme", Object: "orders", PIN: token.PINSource{File: file}}
	bare, err := token.NewKey(config, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	_, err = bare.Public(t.Context())
	require.Error(t, err, "it has read the PIN, and found no module")
	tokens := custody.New([]string{config.Module}, slog.New(slog.DiscardHandler))
	_, failed := tokens.Sign(context.Background(), "token:"+config.URI(), []byte("x"))
	require.Error(t, failed)

	vault := signature.Vault{Current: master, Previous: []signature.MasterKey{master}}
	values = append(values, master, wrapped, seal.Vault(vault), vault, ring, ring.Bind(t.Context(), tokens), keeper, config, bare, tokens, failed,
		signer.Config{Vault: vault, Custody: tokens})
	found := func(shown string) bool {
		for _, secret := range secrets {
			if strings.Contains(shown, secret) {
				return true
			}
		}
		return false
	}
	control := []byte("correct horse battery staple")
	add(control)
	for how, shown := range prints(t, hidden{control}) {
		assert.True(t, found(shown) || how == "JSON" || how == "String", "what is shown by %s would be found", how)
	}
	for _, value := range values {
		for _, shape := range []any{value, &value, hidden{value}, &hidden{value}, []any{value}, map[string]any{"k": value}} {
			for how, shown := range prints(t, shape) {
				if found(shown) {
					t.Errorf("%T shows a secret by %s", value, how) // which the test does not show again
				}
			}
		}
	}
}
