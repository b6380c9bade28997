package main

import (
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
)

const someURI = "pkcs11:token=acme;object=web?module-path=/nowhere/m.so&pin-source=file:/nowhere/pin"

// What kong divides at ';' is put together again, and nothing else is.
func TestIdentitiesMayBeURIs(t *testing.T) {
	for _, test := range []struct {
		flags []string
		want  []string
	}{
		{[]string{"--identity", "a=/a.pem,/a.key;b=/b.pem"}, []string{"a=/a.pem,/a.key", "b=/b.pem"}},
		{[]string{"--identity", "a=" + someURI}, []string{"a=" + someURI}},
		{[]string{"--identity", "a=" + someURI + ";b=/b.pem"}, []string{"a=" + someURI, "b=/b.pem"}},
		{[]string{"--identity", "a=" + someURI, "--identity", "b=" + someURI}, []string{"a=" + someURI, "b=" + someURI}},
		{[]string{"--identity", "b=/b.pem;a=" + someURI + ";c=/c.pem"}, []string{"b=/b.pem", "a=" + someURI, "c=/c.pem"}},
	} {
		for _, environment := range []bool{false, true} {
			if environment && len(test.flags) > 2 {
				continue
			}
			var flags struct {
				Identity []string `env:"HANDFAST_IDENTITY" sep:";"`
			}
			parser, err := kong.New(&flags)
			require.NoError(t, err)
			given := test.flags
			if environment {
				t.Setenv("HANDFAST_IDENTITY", given[1])
				given = nil
			}
			_, err = parser.Parse(given)
			require.NoError(t, err)
			assert.Equal(t, test.want, joinURIs(flags.Identity))
		}
	}
}

func TestIdentitiesInTokensTellEveryProblem(t *testing.T) {
	for name, test := range map[string]struct {
		given  []string
		want   []string
		secret string
	}{
		"parsing": {
			given: []string{"a=pkcs11:token=acme;slot-id=1?module-path=m.so", "b=/nowhere/b.pem"},
			want: []string{
				`"a": the PKCS#11 key cannot be used: attribute "slot-id" is not one that is used here`, "module-path is not an absolute path",
				"pin-source is missing", `"b": client identity "b": stat /nowhere/b.pem`,
			},
		},
		"opening":        {given: []string{"a=" + someURI}, want: []string{`"a": client identity "a": `, "/nowhere/"}},
		"no name":        {given: []string{someURI}, want: []string{"a PKCS#11 URI without a name before it: it is NAME=pkcs11:…"}},
		"PIN":            {given: []string{"a=pkcs11:token=acme?pin-value=12", "7391"}, want: []string{"pin-value is refused", "something is not NAME=CERTIFICATE,KEY"}, secret: "7391"},
		"PIN, no name":   {given: []string{"pkcs11:token=acme?pin-value=7391"}, want: []string{"without a name"}, secret: "7391"},
		"PIN in a token": {given: []string{"a=pkcs11:pin-value=7391", "b=pkcs11:7391?"}, want: []string{"pin-value is refused"}, secret: "7391"},
	} {
		t.Run(name, func(t *testing.T) {
			c := dispatcherCommand{Identity: test.given}
			sources, err := c.identities(t.Context(), mtls.FileOptions{})
			assert.Empty(t, sources)
			for _, words := range test.want {
				require.ErrorContains(t, err, words)
			}
			if test.secret != "" {
				require.NotContains(t, err.Error(), test.secret)
			}
		})
	}
}
