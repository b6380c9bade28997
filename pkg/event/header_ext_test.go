package event_test

import (
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/event"
)

func TestHeaderValueVectorOfTheSpecification(t *testing.T) {
	t.Parallel()
	const plain, encoded = "Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80"
	assert.Equal(t, encoded, event.EncodeHeaderValue(plain))
	decoded, err := event.DecodeHeaderValue(encoded)
	require.NoError(t, err)
	assert.Equal(t, plain, decoded)
}

func TestEncodeHeaderValue(t *testing.T) {
	t.Parallel()
	for plain, want := range map[string]string{
		"": "", "/a-b_c~!{}": "/a-b_c~!{}", `"`: "%22", "%": "%25", "a b": "a%20b", "\x7f": "%7F", "\n": "%0A",
	} {
		assert.Equal(t, want, event.EncodeHeaderValue(plain), "%q", plain)
	}
}

func TestDecodeHeaderValue(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"%e2%82%ac":     "€",        // lower-case hex
		"%2525":         "%25",      // one round only
		`"a \"b\" \\c"`: `a "b" \c`, // quoted by an old producer
		`"%20"`:         " ",        // unquoted first, decoded second
		` "a" `:         "a",
		"Euro € bare":   "Euro € bare",
		`a"b`:           `a"b`,
		"a+b":           "a+b",
		`""`:            "",
	} {
		got, err := event.DecodeHeaderValue(raw)
		require.NoError(t, err, raw)
		assert.Equal(t, want, got, raw)
	}
	for _, raw := range []string{"%C0%A0", "%ED%A0%80", "\xff", "%", "%2", "%zz", "a%g0", `"`, `"a`, `"a"b"`, `"a\`, `"a\"`} {
		_, err := event.DecodeHeaderValue(raw)
		assert.Error(t, err, raw)
	}
}

func FuzzHeaderValue(f *testing.F) {
	for _, seed := range []string{"", "Euro € 😀", "%C0%A0", `"a\"b"`, "%25", " a ", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		encoded := event.EncodeHeaderValue(s)
		for _, c := range []byte(encoded) {
			require.True(t, c > ' ' && c <= '~' && c != '"', "%q", encoded)
		}
		back, err := event.DecodeHeaderValue(encoded)
		if !utf8.ValidString(s) {
			require.Error(t, err)
		} else {
			require.NoError(t, err)
			require.Equal(t, s, back)
		}
		if decoded, err := event.DecodeHeaderValue(s); err == nil {
			require.True(t, utf8.ValidString(decoded))
		}
	})
}
