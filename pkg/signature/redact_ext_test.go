package signature_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

// capture is a testing.T that keeps what a failed assertion prints, which
// includes a deep dump through pointers and unexported fields.
type capture struct{ text strings.Builder }

func (c *capture) Errorf(format string, args ...any) { fmt.Fprintf(&c.text, format, args...) }

// hidden holds secrets in unexported fields, where fmt cannot call our methods.
type hidden struct {
	key      signature.Key
	pointer  *signature.Key
	ring     signature.Ring
	master   signature.MasterKey
	verifier signature.Verifier
}

// forms returns the ways in which the bytes of a secret could show.
func forms(t *testing.T, revealed string) []string {
	t.Helper()
	encoded := revealed[strings.LastIndex(revealed, "_")+1:]
	raw, err := base64.StdEncoding.DecodeString(encoded)
	require.NoError(t, err)
	start := raw[:8]
	decimals := strings.Trim(fmt.Sprintf("%d", start), "[]")
	return []string{
		encoded, encoded[:12], hex.EncodeToString(start), strings.ToUpper(hex.EncodeToString(start)),
		string(start), decimals, strings.ReplaceAll(decimals, " ", ","), strings.Trim(fmt.Sprintf("%#v", start), "[]byte{}"),
		strings.TrimSuffix(hex.Dump(start)[10:33], " "),
	}
}

func TestNothingPrintsASecret(t *testing.T) {
	for _, key := range []signature.Key{parse(t, "k1", "v1", vectorSecret), parse(t, "k2", "v1a", vectorPrivate)} {
		ring, master := ringOf(t, key), masterKey(t)
		// Fill the states that a key keeps for its next use, too.
		_, _, err := signature.Signer{}.Sign(vectorRequest(), []string{key.Scheme}, ring)
		require.NoError(t, err)
		secrets := append(forms(t, key.Reveal()), forms(t, master.Reveal())...)
		for _, value := range []any{
			key, &key,
			[]signature.Key{key},
			map[string]signature.Key{"a": key},
			ring, &ring, master, &master,
			verifierOf(t, key),
			signature.Vault{Current: master, Previous: []signature.MasterKey{master}},
			hidden{key, &key, ring, master, verifierOf(t, key)},
			&hidden{key: key, master: master},
		} {
			for name, text := range prints(t, value) {
				for _, secret := range secrets {
					assert.NotContains(t, text, secret, "%T by %s", value, name)
				}
			}
		}
	}
}

func prints(t *testing.T, value any) map[string]string {
	t.Helper()
	out := map[string]string{"Sprint": fmt.Sprint(value)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
		out[verb] = fmt.Sprintf(verb, value)
	}
	if s, ok := value.(fmt.Stringer); ok {
		out["String"] = s.String()
	}
	if s, ok := value.(fmt.GoStringer); ok {
		out["GoString"] = s.GoString()
	}
	if s, ok := value.(slog.LogValuer); ok {
		out["LogValue"] = s.LogValue().String()
	}
	text, err := json.Marshal(value)
	require.NoError(t, err)
	out["JSON"] = string(text)
	var logs bytes.Buffer
	slog.New(slog.NewTextHandler(&logs, nil)).Info("x", slog.Any("value", value))
	slog.New(slog.NewJSONHandler(&logs, nil)).Info("x", slog.Any("value", value))
	out["slog"] = logs.String()
	out["error"] = fmt.Errorf("wrapped: %v", value).Error()
	var failed capture
	assert.Equal(&failed, "something else", value)
	require.NotEmpty(t, failed.text.String())
	out["failed assertion"] = failed.text.String()
	return out
}

func TestPrintsSayWhatTheyAre(t *testing.T) {
	key := parse(t, "k1", "v1", vectorSecret)
	assert.Equal(t, "key k1 (scheme v1, active, secret [redacted])", fmt.Sprintf("%#v", key))
	assert.Equal(t, "ring [key k1 (scheme v1, active, secret [redacted])]", fmt.Sprint(ringOf(t, key))) //nolint:gocritic // fmt is what is tested
	assert.Equal(t, "verifier k1 (scheme v1, key [redacted])", fmt.Sprint(verifierOf(t, key)))          //nolint:gocritic // as above
	text, err := json.Marshal(ringOf(t, key))
	require.NoError(t, err)
	assert.JSONEq(t, `[{"id":"k1","scheme":"v1","state":"active","secret":"[redacted]"}]`, string(text))
	require.ErrorContains(t, json.Unmarshal(text[1:len(text)-1], &key), "ParseSecret")
	assert.Contains(t, fmt.Sprint(masterKey(t)), "[redacted]") //nolint:gocritic // as above
	assert.Empty(t, signature.MasterKey{}.Reveal())
}
