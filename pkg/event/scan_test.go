package event

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func jsonSeeds() []string {
	return []string{
		``, ` `, `{}`, `[]`, `null`, `nul`, `true`, `false`, `0`, `-0`, `01`, `-`, `1.`, `1.5e`, `1.5e+3`, `+1`, `.5`,
		`"a"`, `"a`, `"\n"`, `"\x"`, `"\u12"`, `"\u12aF"`, "\"\n\"", `"\ud83d\ude00"`, `"\ud83d"`, `"\/"`,
		`{"a":1,"b":[1,2,{"c":null}]}`, `{"a":1,}`, `{"a"}`, `{"a":}`, `{a:1}`, `{,}`, `[1,]`, `[,]`, `[1 2]`,
		` { "a" : [ 1 , 2 ] } `, `{} {}`, `1 2`, `"a"b`, "\ufeff{}", `[[[[]]]]`, `{"":""}`,
	}
}

func TestCheckJSONAgreesWithEncodingJSON(t *testing.T) {
	t.Parallel()
	for _, text := range jsonSeeds() {
		assert.Equal(t, json.Valid([]byte(text)), checkJSON([]byte(text)) == nil, "%q", text)
	}
}

func TestCheckJSONBoundsDepth(t *testing.T) {
	t.Parallel()
	nested := func(open, end string, n int) []byte {
		return []byte(strings.Repeat(open, n) + "1" + strings.Repeat(end, n))
	}
	assert.Nil(t, checkJSON(nested("[", "]", maxDepth)))
	assert.Nil(t, checkJSON(nested(`{"a":`, "}", maxDepth)))
	require.ErrorContains(t, checkJSON(nested("[", "]", maxDepth+1)), "512")
	assert.ErrorContains(t, checkJSON(nested(`{"a":`, "}", maxDepth+1)), "512")
}

func TestUnquote(t *testing.T) {
	t.Parallel()
	for quoted, want := range map[string]string{
		`""`: "", `"a"`: "a", `"\"\\\/\b\f\n\r\t"`: "\"\\/\b\f\n\r\t",
		`"a\u00e9\u20ACb"`: "aé€b", `"\ud83d\ude00"`: "😀", `"é\u0000"`: "é\x00",
	} {
		got, whole := unquote([]byte(quoted))
		assert.True(t, whole, quoted)
		assert.Equal(t, want, got)
	}
	for _, half := range []string{`"\ud83d"`, `"\ude00\ud83d"`, `"\ud83dx"`, `"\ud83d\n\ude00"`, `"\ud83d\u0041"`} {
		_, whole := unquote([]byte(half))
		assert.False(t, whole, half)
	}
}

func FuzzJSON(f *testing.F) {
	for _, seed := range jsonSeeds() {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		err := checkJSON(text)
		if err != nil && strings.Contains(err.what, "levels") {
			return // encoding/json allows more
		}
		require.Equal(t, json.Valid(text), err == nil, "%q: %v", text, err)
		var want string
		if err != nil || !utf8.Valid(text) || json.Unmarshal(text, &want) != nil || text[0] != '"' {
			return
		}
		if got, whole := unquote(text[:len(strings.TrimRight(string(text), " \n\t\r"))]); whole {
			require.Equal(t, want, got)
		} else {
			require.Contains(t, want, "\ufffd", "only half a surrogate pair may be refused")
		}
	})
}

func FuzzBase64(f *testing.F) {
	for _, seed := range []string{"", "YQ==", "YWI=", "YWJj", "YQ", "YQ=", "====", "Y===", "a-_b", "YR=="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, err := base64.StdEncoding.DecodeString(s)
		if strings.ContainsAny(s, "\r\n") {
			require.False(t, isBase64(s)) // the decoder skips line ends, the standard does not
			return
		}
		require.Equal(t, err == nil, isBase64(s), "%q: %v", s, err)
	})
}
