package mtls_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/handfast/handfast/pkg/mtls"
)

func FuzzNewIdentity(f *testing.F) {
	root := newTestAuthority(f, "root")
	intermediate, err := root.Intermediate("intermediate")
	if err != nil {
		f.Fatal(err)
	}
	p := clientPair(f, intermediate, "client")
	f.Add(p.certificate, p.key)
	f.Add(p.certificate[:len(p.certificate)/2], p.key)
	f.Add(bytes.Join([][]byte{root.CertificatePEM(), p.certificate, p.key}, nil), p.key[:80])
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), []byte("0\x82"))
	now := time.Now()
	f.Fuzz(func(t *testing.T, certificatePEM, keyPEM []byte) {
		i, err := mtls.NewIdentity("fuzz", certificatePEM, keyPEM, now)
		if (i == nil) == (err == nil) {
			t.Fatalf("want either an identity or an error, got %v and %v", i, err)
		}
		if err != nil {
			if strings.Contains(err.Error(), string(p.key[40:80])) {
				t.Fatal("the error shows the key")
			}
			return
		}
		// What was accepted must be stable: its own chain gives the same identity.
		chain := certificates(t, nil)
		for _, der := range i.Certificate().Certificate {
			chain = append(chain, mustParse(t, der))
		}
		again, err := mtls.NewIdentity("fuzz", toPEM(chain...), keyToPEM(t, i.Certificate().PrivateKey), now)
		if err != nil || again.Generation() != i.Generation() {
			t.Fatalf("a second reading gave %v, %v", again, err)
		}
	})
}
