package signature

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The keys and requests of RFC 9421 appendix B.
const (
	rfcShared  = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
	rfcEd25519 = "MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF"
	rfcPublic  = "MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="
	rfcECDSA   = `-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIFKbhfNZfpDsW43+0+JjUr9K+bTeuxopu653+hBaXGA7oAoGCCqGSM49
AwEHoUQDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lfw0EkjqF7xB4FivAxzic30tMM
4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==
-----END EC PRIVATE KEY-----
`
)

// TestRFC9421Vectors makes the signature bases of appendix B.2.4 to B.2.6 and signs or verifies them.
func TestRFC9421Vectors(t *testing.T) {
	header := http.Header{}
	header.Set("date", "Tue, 20 Apr 2021 02:07:55 GMT")
	header.Set("content-type", "application/json")
	header.Set("content-length", "18")
	request := message{method: http.MethodPost, authority: "example.com", target: "/foo?param=Value&Pet=dog", field: func(name string) (string, error) { return header.Get(name), nil }}
	answer := http.Header{}
	answer.Set("content-type", "application/json")
	answer.Set("content-digest", "sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:")
	answer.Set("content-length", "23")
	require.NoError(t, checkDigest(answer.Get("content-digest"), []byte(`{"message": "good dog"}`)))
	response := message{field: func(name string) (string, error) { return answer.Get(name), nil }}

	for _, c := range []struct {
		name, scheme, secret string
		message              message
		// first stands in front of the base: we sign no responses, so that "@status" is not ours to derive.
		first, input, signature string
	}{
		{
			"B.2.4", HTTPECDSA, rfcECDSA, response, "\"@status\": 200\n",
			`sig-b24=("content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-ecc-p256"`,
			"wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw==",
		},
		{
			"B.2.5", HTTPHMAC, rfcShared, request, "",
			`sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"`,
			"pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=",
		},
		{
			"B.2.6", HTTPEd25519, rfcEd25519, request, "",
			`sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"`,
			"wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			members, err := parseDictionary(c.input, 1)
			require.NoError(t, err)
			base, err := c.message.base([]byte(c.first), members[0].list)
			require.NoError(t, err)
			params := members[0].raw
			if c.first != "" {
				params = strings.Replace(params, "(", `("@status" `, 1)
			}
			base = append(base, params...)
			key, err := ParseSecret(c.scheme, c.secret)
			require.NoError(t, err)
			raw := base64Text().read(c.signature)
			require.NotNil(t, raw)
			assert.True(t, key.material.match(base, nil, [][]byte{raw}))
			assert.False(t, key.material.match(base[1:], nil, [][]byte{raw}))
			assert.False(t, key.material.match(base, nil, [][]byte{raw[1:], nil, append(raw, 0)}))
			if c.scheme != HTTPECDSA { // its signatures are random
				made, err := key.material.sign(nil, base, nil)
				require.NoError(t, err)
				assert.Equal(t, raw, made)
			}
			made, err := key.material.sign(nil, base, nil)
			require.NoError(t, err)
			assert.True(t, key.material.match(base, nil, [][]byte{made}))
		})
	}
}

// TestDerivedComponents are the examples of RFC 9421 section 2.2.
func TestDerivedComponents(t *testing.T) {
	m := message{method: "post", authority: "WWW.Example.com:443", target: "/path?param=value&foo=bar&baz=bat%2Dman", field: func(string) (string, error) { return "", nil }}
	for name, want := range map[string]string{
		"@method": "post", "@authority": "www.example.com", "@path": "/path", "@query": "?param=value&foo=bar&baz=bat%2Dman",
		"@target-uri": "https://www.example.com/path?param=value&foo=bar&baz=bat%2Dman", "@request-target": m.target, "@scheme": "https",
	} {
		got, err := m.component(name)
		require.NoError(t, err)
		assert.Equal(t, want, got, name)
	}
	for target, want := range map[string][2]string{"": {"/", "?"}, "/": {"/", "?"}, "/a?": {"/a", "?"}, "/a?b?c": {"/a", "?b?c"}, "/a%2Fb": {"/a%2Fb", "?"}} {
		m.target = target
		path, _ := m.component("@path")
		query, _ := m.component("@query")
		assert.Equal(t, want, [2]string{path, query}, target)
	}
	for _, name := range []string{"@status", "@query-param", "@", "Content-Type", "", "date"} {
		_, err := m.component(name)
		require.Error(t, err, name)
	}
	m.method = ""
	_, err := m.component("@method")
	require.Error(t, err)
	for _, bad := range []string{"a\r\nb", "a\nb", "é", "\x00", "a\x7f"} {
		m.field = func(string) (string, error) { return bad, nil }
		_, err := m.base(nil, []string{"date"})
		require.Error(t, err, "a line of the base cannot be made to look like two")
	}
}

func TestParseDictionary(t *testing.T) {
	members, err := parseDictionary(`a=1;x=2.5;y=?1;z=@5, b=("x" "y\"\\");created=-7;k="v";t=tok/en;u=:AQI=: ,	c, *d=:AQI=:;a, e=("x";req), f=(1), g=()`, 8)
	require.NoError(t, err)
	require.Len(t, members, 7)
	assert.Equal(t, []string{"x", `y"\`}, members[1].list)
	assert.True(t, members[1].ok)
	assert.Equal(t, int64(-7), members[1].param("created"))
	assert.Equal(t, "v", members[1].text("k"))
	assert.Empty(t, members[1].text("t"), "a token is no string")
	assert.Nil(t, members[1].param("none"))
	assert.Equal(t, `("x" "y\"\\");created=-7;k="v";t=tok/en;u=:AQI=:`, members[1].raw)
	assert.Equal(t, []byte{1, 2}, members[3].bytes)
	assert.False(t, members[4].ok, "a component with a parameter")
	assert.False(t, members[5].ok, "a component that is no string")
	assert.True(t, members[6].ok)
	for _, bad := range []string{
		"", " ", ",", "a=", "a=1,", "a=1,,b=2", "A=1", "1=1", "a=1 b=2", "a=(", "a=(\"x\"", `a=("x""y")`, `a=("x" "y`, `a="x`, `a="\x"`, "a=\"\n\"", "a=\"é\"",
		"a=:AQI=", "a=:AQ\nI=:", "a=:!:", "a=:AQJ=:", "a=1;", "a=1;A=2", "a=1;x=1;x=2", "a=1, a=2", "a=?2", "a=?", "a=@", "a=@x", "a=-", "a=1.", "a=1.1234",
		"a=1234567890123456", "a=1234567890123.1", "a={}", "a=1\x00", `a=("x");created=1x`,
	} {
		_, err := parseDictionary(bad, 8)
		require.Error(t, err, "%q", bad)
	}
	_, err = parseDictionary("a,b,c", 2)
	require.ErrorIs(t, err, errMany)
	_, err = parseDictionary("a=1"+strings.Repeat(";x", 1)+manyParams(maxParams), 2)
	require.ErrorIs(t, err, errMany)
}

func manyParams(n int) string {
	var out strings.Builder
	for i := range n {
		out.WriteString(";p" + strings.Repeat("a", i))
	}
	return out.String()
}

func TestCheckDigest(t *testing.T) {
	body := []byte(`{"hello": "world"}`)
	const good = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
	const wide = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"
	assert.Equal(t, good, contentDigest(body))
	for _, field := range []string{good, wide, good + ", " + wide, "md5=:AAAA:, " + good, good + ", unixsum=1"} {
		require.NoError(t, checkDigest(field, body), field)
	}
	for field, want := range map[string]error{
		"":                              ErrMalformed,
		"sha-256=X48E9q":                ErrNoMatch,
		"sha-256":                       ErrNoMatch,
		"md5=:AAAA:":                    ErrMalformed,
		good + ", sha-512=:AAAA:":       ErrNoMatch,
		"sha-256=:AAAA:, " + good:       ErrMalformed,
		good + "," + good:               ErrMalformed,
		strings.ToUpper(good[:7]) + "=": ErrMalformed,
	} {
		require.ErrorIs(t, checkDigest(field, body), want, field)
	}
	require.ErrorIs(t, checkDigest(good, body[1:]), ErrNoMatch)
}

// FuzzVerifyMessage knows what was signed, so it can tell a forgery.
func FuzzVerifyMessage(f *testing.F) {
	key, err := ParseSecret(HTTPHMAC, rfcShared)
	if err != nil {
		f.Fatal(err)
	}
	key.ID = "k1"
	now := time.Unix(1618884473, 0)
	sent := Request{ID: "msg_1", Time: now, Method: http.MethodPost, URL: "https://example.com/in?a=1", Header: headerMap{"content-type": "text/plain"}, Body: []byte("hello")}
	fields, err := messageScheme{name: HTTPHMAC}.Sign(sent, []Key{key})
	if err != nil {
		f.Fatal(err)
	}
	verifiers := []Verifier{{scheme: HTTPHMAC, keyID: "k1", match: key.material.match}}
	f.Add("POST", "example.com", "/in?a=1", "text/plain", fields[0].Value, "msg_1", fields[2].Value, fields[3].Value, "hello")
	f.Add("GET", "", "", "", "sha-512=::", "", `a=("@method";req "x");tag="webhook"`, "a=:AA==:", "")
	f.Add("POST", "EXAMPLE.com:443", "/in?a=1", "text/plain", fields[0].Value, "msg_1", "x=1, "+fields[2].Value, fields[3].Value+", y", "hello")
	f.Fuzz(func(t *testing.T, method, authority, target, content, digest, id, input, value, body string) {
		h := headerMap{"content-type": content, HeaderDigest: digest, HeaderID: id, HeaderMessageInput: input, HeaderMessageSignature: value}
		got, err := Verify(HTTPHMAC, Received{Method: method, Authority: authority, Target: target, Header: h, Body: []byte(body)}, verifiers, now, 0)
		if err != nil {
			if got != (Verified{}) {
				t.Fatalf("refused and verified at once: %+v", got)
			}
			return
		}
		if method != "POST" || normalAuthority(authority) != "example.com" || target != "/in?a=1" || strings.Trim(content, " \t") != "text/plain" || id != "msg_1" || body != "hello" {
			t.Fatalf("forged: %q %q %q %q %q %q", method, authority, target, content, id, body)
		}
	})
}
