package token_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls/token"
)

const goodURI = "pkcs11:token=acme;object=web?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin"

func ExampleParseURI() {
	config, err := token.ParseURI("pkcs11:token=The%20Acme%20HSM;object=web?module-path=/usr/lib/hsm.so&pin-source=env:HSM_PIN&certificate=/etc/web.pem")
	fmt.Println(config.Token, "|", config.Object, "|", config.PIN, "|", err)

	_, err = token.ParseURI("pkcs11:token=acme;slot-id=1?pin-value=1234")
	fmt.Println(strings.ReplaceAll(err.Error(), "; ", "\n  "))
	// Output:
	// The Acme HSM | web | environment variable HSM_PIN | <nil>
	// the PKCS#11 key cannot be used: attribute number 2 is not one that is used here at this place: token, serial, object, id, type before the '?', module-path, pin-source, certificate, sessions after it
	//   pin-value is refused: a PIN in a URI is seen by everybody on this machine
	//   use pin-source=file:/PATH or pin-source=env:NAME, and change that PIN
	//   module-path is missing: give the absolute path of the token's PKCS#11 library
	//   object is missing: give the key's label, or its id as id
	//   pin-source is missing: give file:/PATH or env:NAME, where the PIN is read
}

func TestURIsAreRead(t *testing.T) {
	base := token.Config{Module: "/m.so", Token: "acme", Object: "web", PIN: token.PINSource{File: "/pin"}}
	with := func(alter func(*token.Config)) token.Config {
		c := base
		alter(&c)
		return c
	}
	for text, want := range map[string]token.Config{
		"pkcs11:token=acme;object=web?module-path=/m.so&pin-source=file:/pin":                  base,
		"pkcs11:object=web;type=private;token=acme?pin-source=file:///pin&module-path=%2Fm.so": base,
		"pkcs11:token=a%20c%3Bme;object=w%C3%A9b?module-path=/m.so&pin-source=file:/pin": with(func(c *token.Config) {
			c.Token, c.Object = "a c;me", "wéb"
		}),
		"pkcs11:serial=12ab;id=%00%ff?module-path=/m.so&pin-source=env:PIN&certificate=/c.pem&sessions=8": {
			Module: "/m.so", Serial: "12ab", ID: []byte{0, 255}, PIN: token.PINSource{Environment: "PIN"}, Certificate: "/c.pem", Sessions: 8,
		},
	} {
		got, err := token.ParseURI(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
}

func TestBadURIsTellEveryProblem(t *testing.T) {
	for text, want := range map[string][]string{
		"":                  {"it does not begin with pkcs11:"},
		"PKCS11:token=acme": {"it does not begin with pkcs11:"},
		goodURI + "/" + strings.Repeat("a", 1<<14): {"the URI is longer than 16384 bytes"},
		"pkcs11:":  {"module-path is missing", "token is missing", "object is missing", "pin-source is missing"},
		"pkcs11:?": {"module-path is missing", "token is missing", "object is missing", "pin-source is missing"},
		"pkcs11:token=a;token=b;object=%zz;x?module-path=m.so&pin-source=/pin&sessions=1&certificate=c.pem": {
			`attribute "token" is given twice`, `the value of attribute "object" holds characters that have to be percent-encoded`,
			`attribute "x" is not NAME=VALUE`, "module-path is not an absolute path", "pin-source is neither file:/PATH nor env:NAME",
			"sessions is 1 and has to be 2 to 1024", "certificate is not an absolute path",
		},
		"pkcs11:token=;object=a b;type=cert;module-path=/m.so?object=c&pin-source=|/bin/pin&module-path=/m.so&sessions=no": {
			`attribute "token" is empty`, `the value of attribute "object" holds`, `attribute "type" can only be private`,
			`the value of attribute "module-path" holds`, `attribute "object" is given twice`, "pin-source is neither", `attribute "module-path" is given twice`, `attribute "sessions" is not a whole number`,
		},
		"pkcs11:token=a;serial=b;object=c%0a;id=%?module-path=/m.so&pin-source=env:1x": {
			"token and serial are both given", "object is longer than 255 bytes, or holds control characters",
			`the value of attribute "id" holds`, "pin-source names no environment variable",
		},
		"pkcs11:token=acme;object=web;?module-path=/m.so&pin-source=file:/pin#f": {
			`attribute "" is not NAME=VALUE`, `the value of attribute "pin-source" holds`,
		},
		"pkcs11:token=a;object=web;pin-source=env:P?module-path=/m.so&token=b": {`attribute "pin-source" is not one that is used here at this place`, `attribute "token" is given twice`, "pin-source is missing"},
		"pkcs11:token=%ff;object=web?module-path=/m.so&pin-source=file:pin":    {"token is longer than 255 bytes, or holds", "pin-source is not an absolute path"},
		"pkcs11:token=a;object=web;manufacturer=x?module-path=/m.so&pin-source=file:/pin&module-name=y": {
			`attribute "manufacturer" is not one that is used here`, `attribute "module-name" is not one that is used here`,
		},
	} {
		_, err := token.ParseURI(text)
		var all *token.ConfigError
		require.ErrorAs(t, err, &all, text)
		assert.Len(t, all.Problems, len(want), "%s: %q", text, all.Problems)
		for _, words := range want {
			assert.ErrorContains(t, err, words)
		}
	}
}

func TestAPINInAURIIsNotRepeated(t *testing.T) {
	for _, text := range []string{
		"pkcs11:token=a;object=b?pin-value=7391&module-path=/m.so",
		"pkcs11:token=a;object=b;pin-value=7391",
		"pkcs11:token=a?pin-value=12&7391=4&7391",
		"pkcs11:token=a?pin-value=12;7391",
		"pkcs11:token=a?PIN-VALUE=7391&x-7391",
		"pkcs11:token=a?pin-value=%7391",
		"pkcs11:token=a?pin-source=7391",
	} {
		_, err := token.ParseURI(text)
		require.Error(t, err, text)
		assert.NotContains(t, err.Error(), "7391")
	}
}

func FuzzParseURI(f *testing.F) {
	for _, text := range []string{
		goodURI, goodURI + "&sessions=8&certificate=/c.pem", "pkcs11:serial=1;id=%00%FF?module-path=/m&pin-source=env:P",
		"pkcs11:token=a;token=b?pin-value=7391&7391", "pkcs11:;;=?&&=%", "pkcs11:token=%C3%A9;object=%3B?module-path=/%3F",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		config, err := token.ParseURI(text)
		if err != nil {
			if len(config.ID)+len(config.Module) > 0 {
				t.Fatal("half a config came with an error")
			}
			return
		}
		if err := config.Validate(); err != nil {
			t.Fatalf("%q was read as what is not valid: %v", text, err)
		}
		again, err := token.ParseURI(config.URI())
		if err != nil || again.URI() != config.URI() || fmt.Sprintf("%#v", again) != fmt.Sprintf("%#v", config) {
			t.Fatalf("%q became %q, which became %#v, %v", text, config.URI(), again, err)
		}
	})
}
