package mtls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// revokedSeeds is a root, a certificate below it, and the root's only words on it: that it is revoked.
func revokedSeeds(f *testing.F) (root, leaf *x509.Certificate, list, staple []byte) {
	f.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must := func(err error) {
		if err != nil {
			f.Fatal(err)
		}
	}
	must(err)
	issue := func(n int64, ca bool, parent *x509.Certificate) *x509.Certificate {
		c := &x509.Certificate{
			SerialNumber: big.NewInt(n), Subject: pkix.Name{CommonName: "c"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IsCA: ca, BasicConstraintsValid: ca, CRLDistributionPoints: []string{"http://h/"}, KeyUsage: x509.KeyUsageCRLSign,
		}
		if parent == nil {
			parent = c
		}
		raw, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), key)
		must(err)
		c, err = x509.ParseCertificate(raw)
		must(err)
		return c
	}
	root = issue(1, true, nil)
	leaf = issue(2, false, root)
	from, to := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	list, err = x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: from, NextUpdate: to,
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: leaf.SerialNumber, RevocationTime: from, ReasonCode: 1}},
	}, root, key)
	must(err)
	staple, err = ocsp.CreateResponse(root, root, ocsp.Response{
		Status: ocsp.Revoked, SerialNumber: leaf.SerialNumber, ThisUpdate: from, NextUpdate: to, RevokedAt: from,
	}, key)
	must(err)
	return root, leaf, list, staple
}

// FuzzCRL: nothing that can be made of a list without its issuer's key makes a revoked certificate good.
func FuzzCRL(f *testing.F) {
	root, leaf, list, staple := revokedSeeds(f)
	parsed, err := parseCRL(list, root)
	if err != nil || parsed.status(leaf, "").status != Revoked {
		f.Fatalf("the seed must be right: %v", err)
	}
	f.Add(list)
	f.Add(list[:len(list)/2])
	f.Add(staple)
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, err := parseCRL(raw, root)
		if (list == nil) == (err == nil) {
			t.Fatalf("want either a list or an error, got %v and %v", list, err)
		}
		if list != nil && list.status(leaf, "http://h/").status == RevocationGood {
			t.Fatal("a revoked certificate became good")
		}
		// Behind the signature, too: an issuer is trusted, its software may be odd.
		if odd, err := x509.ParseRevocationList(raw); err == nil {
			_ = new(crl).readExtensions(odd)
		}
	})
}

func FuzzIssuingDistributionPoint(f *testing.F) {
	c := &x509.Certificate{CRLDistributionPoints: []string{"http://h/"}}
	f.Add([]byte{0x30, 0})
	f.Add([]byte{0x30, 3, 0x81, 1, 0xff})
	f.Add([]byte{0x30, 3, 0x83, 1, 0x80})
	f.Add([]byte("\x30\x0f\xa0\x0d\xa0\x0b\x86\x09http://h/"))
	f.Add([]byte("\x30\x0f\xa0\x0d\xa1\x0b\x86\x09http://h/"))
	f.Fuzz(func(t *testing.T, value []byte) {
		s, err := parseScope(value)
		if err == nil && s.limited && len(s.names) == 0 && s.excludes(c) == "" {
			t.Fatal("a list of a place without a name covers everything")
		}
		if err == nil && s.casOnly && s.excludes(c) == "" {
			t.Fatal("a list of CAs covers a server")
		}
	})
}

// FuzzStaple: as for lists.
func FuzzStaple(f *testing.F) {
	root, leaf, list, staple := revokedSeeds(f)
	if says := readStaple(staple, leaf, root); says.status != Revoked {
		f.Fatalf("the seed must be right: %v", says)
	}
	f.Add(staple)
	f.Add(staple[:len(staple)/2])
	f.Add(list)
	f.Add(ocsp.TryLaterErrorResponse)
	f.Fuzz(func(t *testing.T, raw []byte) {
		switch says := readStaple(raw, leaf, root); says.status {
		case RevocationGood:
			t.Fatal("a revoked certificate became good")
		case RevocationUnknown, Revoked:
		case RevocationUnchecked, StapleMissing:
			t.Fatalf("no answer: %v", says)
		}
	})
}
