package mtls_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
)

func BenchmarkFileSourceIdentity(b *testing.B) {
	directory := b.TempDir()
	certificate, key := filepath.Join(directory, "c"), filepath.Join(directory, "k")
	p := clientPair(b, newTestAuthority(b, "root"), "client")
	require.NoError(b, os.WriteFile(certificate, p.certificate, 0o600))
	require.NoError(b, os.WriteFile(key, p.key, 0o600))
	source, err := mtls.WatchFiles("acme", certificate, key, mtls.FileOptions{})
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := source.Identity(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIdentityAccepts(b *testing.B) {
	root := newTestAuthority(b, "root")
	i := clientPair(b, root, "client").identity(b, "acme")
	info := &tls.CertificateRequestInfo{
		AcceptableCAs:    [][]byte{newTestAuthority(b, "other").Certificate().RawSubject, root.Certificate().RawSubject},
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
		Version:          tls.VersionTLS13,
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := i.Accepts(info); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTrustVerify(b *testing.B) {
	root := newTestAuthority(b, "root")
	trust := trusting(b, root, mtls.Pin(root.Certificate()))
	cs, err := shake(b, clientConfig(trust, "receiver.test"), serverConfig(b, serverPair(b, root, "receiver.test")))
	require.NoError(b, err)
	for name, resumed := range map[string]bool{"full": false, "resumed": true} {
		b.Run(name, func(b *testing.B) {
			cs := cs
			cs.DidResume = resumed
			b.ReportAllocs()
			for b.Loop() {
				if err := trust.Verify(cs, "receiver.test", time.Now()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAddressPolicyCheck(b *testing.B) {
	policy, addr := mtls.AddressPolicy{}, mustAddr("2606:4700:4700::1111")
	b.ReportAllocs()
	for b.Loop() {
		if err := policy.Check(addr); err != nil {
			b.Fatal(err)
		}
	}
}
