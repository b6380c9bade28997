package doctor

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func FuzzDistinguishedName(f *testing.F) {
	der, err := asn1.Marshal(pkix.Name{CommonName: "Some Root", Organization: []string{"Some\x1b[31m"}}.ToRDNSequence())
	require.NoError(f, err)
	f.Add(der)
	f.Add(append(der, 0))
	f.Add([]byte{})
	f.Add([]byte{0x30, 0x80})
	f.Fuzz(func(t *testing.T, der []byte) {
		name := distinguishedName(der)
		if len(der) > 0 && der[0] != 0x30 {
			assert.Contains(t, name, "cannot be read")
		}
	})
}

// Whatever a receiver sends, nothing of it moves the cursor of the person who reads the report.
func FuzzText(f *testing.F) {
	f.Add("said \x1b[2Jthis", "Receiver: do\nHere: that", 20)
	f.Add("\xff\u202e", "", -1)
	f.Fuzz(func(t *testing.T, said, do string, width int) {
		r := Report{Steps: []Step{{Step: StepTLS, Said: said, Do: do}}}
		text := r.Text(width)
		assert.True(t, utf8.ValidString(text))
		for _, c := range text {
			assert.False(t, (unicode.IsControl(c) && c != '\n') || unicode.Is(unicode.Cf, c), "%q", c)
		}
	})
}

func FuzzBanner(f *testing.F) {
	f.Add([]byte("SSH-2.0-x\r\n"))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n"))
	f.Add([]byte{0xff, 0, '"'})
	f.Fuzz(func(t *testing.T, banner []byte) {
		found := notTLS("127.0.0.1:1", banner)
		assert.Equal(t, HandshakeFailed, found.outcome)
		assert.NotEmpty(t, found.do)
		assert.False(t, strings.ContainsFunc(found.said, unicode.IsControl))
	})
}

func TestLongWordsAreNotBroken(t *testing.T) {
	r := Report{Outcome: HandshakeFailed, Steps: []Step{{Step: StepTLS, Said: "a " + strings.Repeat("x", 50) + " b c"}}}
	assert.Equal(t, " 1 ✗ tls: a\n     "+strings.Repeat("x", 50)+"\n     b c\n\nNot healthy: a delivery would end as handshake_failed.\n", r.Text(20))
}
