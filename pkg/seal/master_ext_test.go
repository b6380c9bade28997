package seal_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
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

func TestParseMasterKey(t *testing.T) {
	raw := make([]byte, 32)
	for i := range raw {
		raw[i] = byte(0xff - i*5)
	}
	want, err := seal.ParseMasterKey(hex.EncodeToString(raw))
	require.NoError(t, err)
	assert.Len(t, want.ID(), 16)
	for _, text := range []string{
		base64.StdEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw),
		strings.ToUpper(hex.EncodeToString(raw)), " " + base64.StdEncoding.EncodeToString(raw) + "\n", want.Reveal(),
	} {
		got, err := seal.ParseMasterKey(text)
		require.NoError(t, err, text)
		assert.Equal(t, want.ID(), got.ID())
		assert.Equal(t, want.Reveal(), got.Reveal())
	}
	for name, text := range map[string]string{
		"empty": " ", "31 bytes": hex.EncodeToString(raw[:31]), "33 bytes": base64.StdEncoding.EncodeToString(append(bytes.Clone(raw), 1)),
		"zeros": strings.Repeat("0", 64), "two lines": hex.EncodeToString(raw[:16]) + "\n" + hex.EncodeToString(raw[16:]),
	} {
		_, err := seal.ParseMasterKey(text)
		require.ErrorIs(t, err, seal.ErrInvalidMasterKey, name)
		if strings.TrimSpace(text) != "" {
			assert.NotContains(t, err.Error(), text, name)
		}
	}
	_, err = seal.GenerateMasterKey(bytes.NewReader(raw[:31]))
	assert.Error(t, err)
}

func TestLoadMasterKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	key := masterKey(t)
	require.NoError(t, os.WriteFile(path, []byte(key.Reveal()+"\n"), 0o600))
	got, err := seal.LoadMasterKey(path)
	require.NoError(t, err)
	assert.Equal(t, key.ID(), got.ID())
	require.NoError(t, os.Chmod(path, 0o640))
	_, err = seal.LoadMasterKey(path)
	require.ErrorIs(t, err, seal.ErrInvalidMasterKey)
	require.ErrorContains(t, err, "chmod 600 '"+path+"'")
	_, err = seal.LoadMasterKey(filepath.Dir(path))
	require.ErrorContains(t, err, "not a regular file")
}

func TestAMasterKeyDoesNotPrint(t *testing.T) {
	master := masterKey(t)
	raw, err := base64.StdEncoding.DecodeString(master.Reveal())
	require.NoError(t, err)
	secrets := []string{
		master.Reveal(), hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)), string(raw),
		strings.Trim(fmt.Sprintf("%d", raw), "[]"), strings.ReplaceAll(strings.Trim(fmt.Sprintf("%d", raw), "[]"), " ", ", "),
	}
	type hidden struct {
		master seal.MasterKey
		vault  seal.Vault
	}
	vault := seal.Vault{Current: master, Previous: []seal.MasterKey{master}}
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	for _, value := range []any{master, &master, vault, &vault, hidden{master, vault}, &hidden{master, vault}} {
		shown := make([]string, 0, 8)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			shown = append(shown, fmt.Sprintf(verb, value))
		}
		text, err := json.Marshal(value)
		require.NoError(t, err)
		logger.Info("x", slog.Any("value", value))
		for _, s := range append(shown, string(text), log.String()) {
			for _, secret := range secrets {
				assert.NotContains(t, s, secret, "%T", value)
			}
		}
	}
	assert.Equal(t, "master key "+master.ID()+" [redacted]", fmt.Sprintf("%#v", master))
	assert.Empty(t, seal.MasterKey{}.Reveal())
}
