package identity_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/seal"
)

func fixedVault(tb testing.TB) seal.Vault {
	tb.Helper()
	m, err := seal.ParseMasterKey(strings.Repeat("0123456789abcdef", 4))
	require.NoError(tb, err)
	return seal.Vault{Current: m}
}

// fixedClient is the same for every fuzzing process, each of which makes its own
// copy of everything else.
func fixedClient(tb testing.TB) (certificatePEM, keyPEM []byte, now time.Time) {
	tb.Helper()
	now = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	certificatePEM, keyPEM = certified(tb, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)), now, nil)
	return certificatePEM, keyPEM, now
}

// accepted checks what has to hold for every record that was accepted.
func accepted(t *testing.T, r identity.Record, err error, vault seal.Vault, now time.Time) {
	t.Helper()
	if (r.Name == "") == (err == nil) {
		t.Fatalf("want either a record or an error, got %v and %v", r, err)
	}
	if err != nil {
		return
	}
	value, err := r.Encode()
	if err != nil {
		t.Fatalf("accepted, but cannot be stored: %v", err)
	}
	again, err := identity.DecodeRecord(r.Key(), value)
	if err != nil {
		t.Fatalf("stored, but cannot be read: %v", err)
	}
	if _, err := again.Open(vault, now); err != nil {
		t.Fatalf("accepted, but cannot be presented: %v", err)
	}
	_ = again.Warnings(now)
}

func FuzzImportPEM(f *testing.F) {
	vault := fixedVault(f)
	chainPEM, keyPEM, now := fixedClient(f)
	f.Add(chainPEM, keyPEM)
	f.Add(append(bytes.Clone(keyPEM), chainPEM...), keyPEM)
	f.Add(chainPEM[:len(chainPEM)/2], keyPEM)
	f.Add(keyPEM, chainPEM)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), []byte("0\x82"))
	f.Fuzz(func(t *testing.T, certificatePEM, keyPEM []byte) {
		r, err := identity.ImportPEM("default", certificatePEM, keyPEM, vault, now)
		accepted(t, r, err, vault, now)
	})
}

func FuzzImportPKCS8(f *testing.F) {
	vault := fixedVault(f)
	chainPEM, keyPEM, now := fixedClient(f)
	block, _ := pem.Decode(keyPEM)
	f.Add(block.Bytes)
	f.Add(block.Bytes[:40])
	f.Fuzz(func(t *testing.T, der []byte) {
		r, err := identity.ImportPEM("default", chainPEM, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), vault, now)
		accepted(t, r, err, vault, now)
		if err == nil && !bytes.Contains(der, bytes.Repeat([]byte{7}, ed25519.SeedSize)) {
			t.Fatal("another key than the certificate's was accepted")
		}
	})
}

func FuzzImportPKCS12(f *testing.F) {
	vault, now := fixedVault(f), time.Now()
	for _, encoder := range []*pkcs12.Encoder{pkcs12.Passwordless, pkcs12.LegacyRC2, pkcs12.Modern} {
		password := "x"
		if encoder == pkcs12.Passwordless {
			password = ""
		}
		file, _ := pkcs12File(f, encoder, password)
		f.Add(file, password)
		f.Add(file[:len(file)-9], password)
	}
	f.Add([]byte("0\x80"), "")
	f.Fuzz(func(t *testing.T, file []byte, password string) {
		r, err := identity.ImportPKCS12("default", file, password, vault, now)
		accepted(t, r, err, vault, now)
	})
}

func FuzzInstall(f *testing.F) {
	vault := fixedVault(f)
	good, keyPEM, now := fixedClient(f)
	before, err := identity.ImportPEM("acme", good, keyPEM, vault, now)
	require.NoError(f, err)
	pending, err := identity.Request("acme", profile(), vault, now)
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte(pending.RequestPEM()))
	f.Add(good[:len(good)-50])
	f.Fuzz(func(t *testing.T, certificatePEM []byte) {
		r, err := before.Install(certificatePEM, vault, now)
		accepted(t, r, err, vault, now)
		if err == nil && !slices.Contains(r.Leaf().DNSNames, "client.test") {
			t.Fatalf("installed without the name that it has to have: %v", r.Leaf().DNSNames)
		}
		if _, err := pending.Install(certificatePEM, vault, now); err == nil {
			t.Fatal("a certificate for a key that nobody else has")
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	vault, now := fixedVault(f), time.Now()
	ca := newAuthority(f, "main", vault, now)
	pending, err := identity.Request("a", profile(), vault, now)
	require.NoError(f, err)
	f.Add("identity.a", encoded(f, created(f, "a", ca, vault, now)))
	f.Add("identity.a", encoded(f, pending))
	f.Add("authority.main", encoded(f, ca))
	f.Add("identity.a", []byte(`{"v":1,"key":null}`))
	f.Add("identity.", []byte(`{}{}`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		if r, err := identity.DecodeRecord(key, value); err == nil {
			if r.Key() != key {
				t.Fatalf("%q holds %q", key, r.Key())
			}
			again, err := identity.DecodeRecord(key, encoded(t, r))
			if err != nil || again.String() != r.String() {
				t.Fatalf("a second reading gave %v, %v", again, err)
			}
		}
		if a, err := identity.DecodeAuthority(key, value); err == nil {
			if a.Key() != key {
				t.Fatalf("%q holds %q", key, a.Key())
			}
			if _, err := identity.DecodeAuthority(key, encoded(t, a)); err != nil {
				t.Fatal(err)
			}
		}
		book := identity.NewBook(vault, identity.BookOptions{})
		book.Put(t.Context(), key, value, 1)
		for _, r := range book.Records() {
			source, _ := book.Source(r.Name)
			_, _ = source.Identity()
		}
	})
}
