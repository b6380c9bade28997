package mtls_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
)

func TestNewIdentityTakesGoodPairs(t *testing.T) {
	t.Parallel()
	root := newTestAuthority(t, "root")
	good := clientPair(t, root, "client")
	ecKey, err := x509.ParsePKCS8PrivateKey(decodeOne(t, good.key).Bytes)
	require.NoError(t, err)
	sec1, err := x509.MarshalECPrivateKey(ecKey.(*ecdsa.PrivateKey))
	require.NoError(t, err)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)})
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	parameters := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 1, 0}})
	combined := bytes.Join([][]byte{good.key, good.certificate}, nil)

	for name, p := range map[string]pair{
		"PKCS #8":             good,
		"SEC 1":               {good.certificate, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})},
		"EC parameters first": {good.certificate, append(bytes.Clone(parameters), good.key...)},
		"combined file":       {combined, combined},
		"text around":         {append([]byte("Bag Attributes\n  localKeyID: 01\n"), good.certificate...), good.key},
		"repeated":            {append(bytes.Clone(good.certificate), good.certificate...), good.key},
		"RSA PKCS #1":         {selfSigned(t, rsaKey, nil).certificate, pkcs1},
		"Ed25519":             selfSigned(t, edKey, nil),
		"no usages at all": selfSigned(t, edKey, func(c *x509.Certificate) {
			c.KeyUsage, c.ExtKeyUsage = 0, nil
		}),
		"any usage": selfSigned(t, edKey, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i, err := mtls.NewIdentity("acme", p.certificate, p.key, time.Now())
			require.NoError(t, err)
			assert.Equal(t, "acme", i.Name())
			sum := sha256.Sum256(i.Leaf().Raw)
			assert.Equal(t, hex.EncodeToString(sum[:]), i.Fingerprint())
			require.Len(t, i.Certificate().Certificate, 1)
			assert.Same(t, i.Leaf(), i.Certificate().Leaf)
		})
	}
}

func decodeOne(t *testing.T, text []byte) *pem.Block {
	t.Helper()
	block, _ := pem.Decode(text)
	require.NotNil(t, block)
	return block
}

func TestNewIdentityTellsProblems(t *testing.T) {
	t.Parallel()
	root, other := newTestAuthority(t, "root"), newTestAuthority(t, "other root")
	good, second := clientPair(t, root, "client"), clientPair(t, root, "second")
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	require.NoError(t, err)
	block := func(kind string, headers map[string]string) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Headers: headers, Bytes: []byte("not really")})
	}
	altered := func(alter func(*x509.Certificate)) pair {
		return issuePair(t, root, authority.Leaf{CommonName: "client", Client: true, Alter: alter})
	}
	at := func(from, to time.Duration) pair {
		return altered(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to) })
	}

	for name, tc := range map[string]struct {
		pair pair
		want string
	}{
		"nothing":           {pair{nil, good.key}, "certificate PEM is empty"},
		"no key":            {pair{good.certificate, nil}, "key PEM is empty"},
		"garbage":           {pair{[]byte("hello"), good.key}, "certificate is not PEM"},
		"garbage key":       {pair{good.certificate, []byte("hello")}, "key is not PEM"},
		"DER":               {pair{decodeOne(t, good.certificate).Bytes, good.key}, "DER or PKCS #12"},
		"broken DER":        {pair{block("CERTIFICATE", nil), good.key}, "certificate 1 of the certificate PEM cannot be read"},
		"cut off":           {pair{good.certificate[:len(good.certificate)-40], good.key}, "still being written"},
		"cut off second":    {pair{append(bytes.Clone(good.certificate), good.certificate[:200]...), good.key}, "only 1 of 2 blocks"},
		"cut off key":       {pair{good.certificate, good.key[:60]}, "still being written"},
		"swapped":           {pair{good.key, good.certificate}, "certificate PEM holds no certificate"},
		"swapped, key":      {pair{good.key, good.certificate}, "key PEM holds no private key"},
		"signing request":   {pair{block("CERTIFICATE REQUEST", nil), good.key}, "signing request"},
		"PKCS #7":           {pair{block("PKCS7", nil), good.key}, "PKCS #7"},
		"trusted":           {pair{block("TRUSTED CERTIFICATE", nil), good.key}, "OpenSSL trusted certificate"},
		"odd block":         {pair{append(block("X509 CRL", nil), good.certificate...), good.key}, `"X509 CRL"`},
		"OpenSSH key":       {pair{good.certificate, block("OPENSSH PRIVATE KEY", nil)}, "OpenSSH"},
		"encrypted PKCS #8": {pair{good.certificate, block("ENCRYPTED PRIVATE KEY", nil)}, "encrypted"},
		"encrypted legacy":  {pair{good.certificate, block("RSA PRIVATE KEY", map[string]string{"Proc-Type": "4,ENCRYPTED"})}, "encrypted"},
		"broken key":        {pair{good.certificate, block("PRIVATE KEY", nil)}, "cannot be read"},
		"X25519 key":        {pair{good.certificate, keyToPEM(t, x25519)}, "cannot sign"},
		"two keys":          {pair{good.certificate, append(bytes.Clone(good.key), second.key...)}, "2 private keys"},
		"other key":         {pair{good.certificate, second.key}, "does not belong to certificate \"CN=client\""},
		"other key, chain":  {pair{append(bytes.Clone(good.certificate), root.CertificatePEM()...), second.key}, "any of the 2 certificates"},
		"expired":           {at(-2*time.Hour, -time.Hour), "expired on "},
		"not yet valid":     {at(time.Hour, 2*time.Hour), "is not valid before "},
		"server only": {altered(func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}), "lacks clientAuth"},
		"cannot sign": {altered(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), "lacks digitalSignature"},
		"CA":          {altered(func(c *x509.Certificate) { c.IsCA = true }), "is a CA"},
		"RSA 1024":    {selfSigned(t, weak, nil), "1024 bits"},
		"SHA-1":       {selfSigned(t, strong, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA }), "SHA1-RSA"},
		"P-224":       {selfSigned(t, p224, nil), "P-224"},
		"unrelated":   {pair{append(bytes.Clone(good.certificate), other.CertificatePEM()...), good.key}, "is not part of the chain"},
		"namesake": {
			pair{append(bytes.Clone(good.certificate), newTestAuthority(t, "root").CertificatePEM()...), good.key},
			"carries the name of the issuer",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i, err := mtls.NewIdentity("acme", tc.pair.certificate, tc.pair.key, time.Now())
			require.ErrorContains(t, err, tc.want)
			assert.Nil(t, i)
			problem := requireIdentityError(t, err)
			assert.Equal(t, "acme", problem.Name)
			assert.ErrorContains(t, err, `client identity "acme" cannot be used`)
		})
	}
}

func requireIdentityError(t *testing.T, err error) *mtls.IdentityError {
	t.Helper()
	var problem *mtls.IdentityError
	require.ErrorAs(t, err, &problem)
	require.NotEmpty(t, problem.Problems)
	return problem
}

func TestNewIdentityTellsEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	p := selfSigned(t, weak, func(c *x509.Certificate) {
		c.NotAfter = time.Now().Add(-time.Minute)
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		c.KeyUsage = x509.KeyUsageCertSign
		c.IsCA, c.BasicConstraintsValid = true, true
		c.SignatureAlgorithm = x509.SHA1WithRSA
	})
	stray := newTestAuthority(t, "stray").CertificatePEM()
	_, err = mtls.NewIdentity("acme", append(p.certificate, stray...), []byte("-----BEGIN PRIVATE KEY-----\nAAAA"), time.Now())
	problems := requireIdentityError(t, err).Problems
	assert.Len(t, problems, 8)
	for _, want := range []string{"key PEM", "not part", "expired", "is a CA", "clientAuth", "digitalSignature", "1024", "SHA1"} {
		assert.Contains(t, strings.Join(problems, "\n"), want)
	}
}

func TestNewIdentityRepairsTheOrder(t *testing.T) {
	t.Parallel()
	root := newTestAuthority(t, "root")
	intermediate, err := root.Intermediate("intermediate")
	require.NoError(t, err)
	p := clientPair(t, intermediate, "client")
	leaf, middle := certificates(t, p.certificate)[0], intermediate.Certificate()
	for _, order := range [][]*x509.Certificate{
		{leaf, middle, root.Certificate()},
		{root.Certificate(), middle, leaf},
		{middle, leaf, root.Certificate(), middle},
	} {
		i, err := mtls.NewIdentity("acme", toPEM(order...), p.key, time.Now())
		require.NoError(t, err)
		assert.Equal(t, [][]byte{leaf.Raw, middle.Raw, root.Certificate().Raw}, i.Certificate().Certificate)
	}
}

func TestNewIdentityChecksIssuers(t *testing.T) {
	t.Parallel()
	root := newTestAuthority(t, "root")
	intermediate, err := root.Intermediate("intermediate")
	require.NoError(t, err)
	p := clientPair(t, intermediate, "client")
	late := intermediate.Certificate().NotAfter.Add(time.Second)
	_, err = mtls.NewIdentity("acme", p.certificate, p.key, late)
	problems := requireIdentityError(t, err).Problems
	require.Len(t, problems, 2)
	assert.Contains(t, problems[1], `issuing certificate "CN=intermediate" expired on`)

	narrow, signed := narrowIssuer(t)
	_, err = mtls.NewIdentity("acme", append(bytes.Clone(signed.certificate), toPEM(narrow)...), signed.key, time.Now())
	problems = requireIdentityError(t, err).Problems
	require.Len(t, problems, 2)
	assert.Contains(t, problems[0], "may not issue client certificates")
	assert.Contains(t, problems[1], "signed with SHA1-RSA")

	_, err = mtls.NewIdentity("acme", append(certificatesPEM(t, 17), p.certificate...), p.key, time.Now())
	assert.ErrorContains(t, err, "more than the 16 that make sense")
}

func certificatesPEM(t *testing.T, count int) (text []byte) {
	t.Helper()
	for range count {
		text = append(text, newTestAuthority(t, "one of many").CertificatePEM()...)
	}
	return text
}

// narrowIssuer is an intermediate for servers only, signed with SHA-1 by a root
// that stays away, and a client certificate that it signed all the same.
func narrowIssuer(t *testing.T) (*x509.Certificate, pair) {
	t.Helper()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	_, leafKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	sign := func(template, parent *x509.Certificate, public any) *x509.Certificate {
		template.SerialNumber = big.NewInt(9)
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, public, rsaKey)
		require.NoError(t, err)
		return mustParse(t, der)
	}
	issuer := sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "narrow"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, SignatureAlgorithm: x509.SHA1WithRSA,
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "far root"}}, rsaKey.Public())
	leaf := sign(&x509.Certificate{DNSNames: []string{"client.test"}}, issuer, leafKey.Public())
	return issuer, pair{toPEM(leaf), keyToPEM(t, leafKey)}
}

func TestProblemsNameCertificatesWithoutASubject(t *testing.T) {
	t.Parallel()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	for want, alter := range map[string]func(*x509.Certificate){
		`certificate "spiffe://test/x"`:    func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "spiffe", Host: "test", Path: "/x"}} },
		`certificate "client.test"`:        func(c *x509.Certificate) { c.DNSNames = []string{"client.test"} },
		"certificate with serial number 7": func(*x509.Certificate) {},
	} {
		p := selfSigned(t, key, func(c *x509.Certificate) {
			c.Subject = pkix.Name{}
			alter(c)
		})
		_, err := mtls.NewIdentity("acme", p.certificate, p.key, time.Now().AddDate(1, 0, 0))
		assert.ErrorContains(t, err, want+" expired")
	}
}
