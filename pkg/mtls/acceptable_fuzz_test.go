package mtls

import (
	"crypto/tls"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

// FuzzAcceptableCAs has a receiver list whatever it likes in its certificate request: names come out readable and
// bounded, and are accepted only when they are the issuer's, byte for byte.
func FuzzAcceptableCAs(f *testing.F) {
	f.Add([]byte{0x30, 0x00}, 1)
	f.Add([]byte("\x30\x0f\x31\x0d\x30\x0b\x06\x03U\x04\x03\x13\x04Acme"), 3)
	f.Add([]byte("\x30\x84\xff\xff\xff\xff"), 20)
	f.Add([]byte{}, 0)
	f.Fuzz(func(t *testing.T, der []byte, count int) {
		if count < 0 || count > 64 {
			t.Skip()
		}
		list := make([][]byte, count)
		for i := range list {
			list[i] = der
		}
		for _, name := range distinguishedNames(list) {
			assert.True(t, utf8.ValidString(name))
			assert.LessOrEqual(t, len(name), maxName+len("…"))
		}
		p := &Proof{}
		p.requested(&tls.CertificateRequestInfo{AcceptableCAs: list})
		assert.Equal(t, count, p.AcceptableCount)
		assert.LessOrEqual(t, len(p.AcceptableCAs), maxListedCAs)
	})
}
