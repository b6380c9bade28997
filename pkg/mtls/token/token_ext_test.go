//go:build cgo

package token_test

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/token"
)

func TestTheKeyNeverLeaves(t *testing.T) {
	for name, kind := range map[string]token.KeyKind{"ECDSA": token.ECDSAP256, "RSA": token.RSA3072} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.create(kind)
			b.raw(func(p *pkcs11.Ctx, slot uint) {
				session, err := p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
				require.NoError(t, err)
				require.NoError(t, p.Login(session, pkcs11.CKU_USER, rightPIN))
				require.NoError(t, p.FindObjectsInit(session, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY)}))
				keys, _, err := p.FindObjects(session, 10)
				require.NoError(t, err)
				require.NoError(t, p.FindObjectsFinal(session))
				require.Len(t, keys, 1)
				for attribute, want := range map[uint]byte{
					pkcs11.CKA_EXTRACTABLE: 0, pkcs11.CKA_NEVER_EXTRACTABLE: 1, pkcs11.CKA_SENSITIVE: 1, pkcs11.CKA_ALWAYS_SENSITIVE: 1,
					pkcs11.CKA_PRIVATE: 1, pkcs11.CKA_LOCAL: 1, pkcs11.CKA_SIGN: 1, pkcs11.CKA_DECRYPT: 0,
				} {
					got, err := p.GetAttributeValue(session, keys[0], []*pkcs11.Attribute{pkcs11.NewAttribute(attribute, nil)})
					require.NoError(t, err)
					assert.Equal(t, []byte{want}, got[0].Value, "attribute %#x", attribute)
				}
				_, err = p.GetAttributeValue(session, keys[0], []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_VALUE, nil), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE_EXPONENT, nil)})
				require.Error(t, err)
			})
		})
	}
}

func TestCreateDoesNotReplaceAKey(t *testing.T) {
	b := newBench(t)
	first := b.create(token.ECDSAP256)
	assert.Equal(t, []string{"https://acme.example/handfast"}, []string{first.URIs[0].String()})
	_, err := token.Create(t.Context(), b.config, token.ECDSAP256, b.template())
	require.EqualError(t, err, `token "acme" holds a key "web" already: choose another object, or delete that key yourself`)

	text, err := token.Request(t.Context(), b.config, b.template())
	require.NoError(t, err)
	block, _ := pem.Decode(text)
	again, err := x509.ParseCertificateRequest(block.Bytes)
	require.NoError(t, err)
	assert.Equal(t, first.PublicKey, again.PublicKey)
}

func TestCreateLeavesNoKeyBehind(t *testing.T) {
	b := newBench(t)
	template := b.template()
	template.DNSNames = []string{"not ascii: é"}
	_, err := token.Create(t.Context(), b.config, token.ECDSAP256, template)
	require.ErrorContains(t, err, "the certificate signing request cannot be made")
	b.create(token.ECDSAP256) // under the same name
}

func TestStoreKeepsTheCertificateInTheToken(t *testing.T) {
	b := newBench(t)
	request := b.create(token.ECDSAP256)
	_, err := token.Open(t.Context(), "acme", b.config, token.Options{})
	require.ErrorContains(t, err, `token "acme" holds no certificate for its key "web": store one there, or name a file with certificate=/PATH`)

	foreign := b.ca.issue(t, newECDSA(t).Public(), request.Subject, nil)
	_, err = token.Store(t.Context(), b.config, "acme", foreign, time.Now())
	require.ErrorContains(t, err, `the private key does not belong to certificate "CN=acme,O=Acme"`)

	stored, err := token.Store(t.Context(), b.config, "acme", b.sign(request, nil), time.Now())
	require.NoError(t, err)
	renewed := make(chan *mtls.Identity, 1)
	s := b.open(token.Options{Interval: 10 * time.Millisecond, OnChange: func(i *mtls.Identity) { renewed <- i }})
	assert.Equal(t, stored.Fingerprint(), identity(t, s).Fingerprint())

	// A source that runs takes up the next one.
	b.run(s)
	next, err := token.Store(t.Context(), b.config, "acme", b.sign(request, nil), time.Now())
	require.NoError(t, err)
	assert.NotEqual(t, stored.Fingerprint(), next.Fingerprint())
	select {
	case i := <-renewed:
		assert.Equal(t, next.Fingerprint(), i.Fingerprint())
	case <-time.After(soon):
		t.Fatal("the stored certificate was not taken up")
	}
	_, err = token.Store(t.Context(), b.config, "acme", pemOf(next), time.Now())
	require.NoError(t, err, "the same once more")
}

func pemOf(i *mtls.Identity) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Leaf().Raw})
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	b := newBench(t)
	request := b.withFile(token.ECDSAP256)
	good := b.config
	tests := map[string]struct {
		alter func(*token.Config)
		want  []string
	}{
		"wrong PIN": {
			func(c *token.Config) { c.PIN.File = b.write("wrong", []byte(wrongPIN)) },
			[]string{`the token does not take the PIN: token "acme" refused the PIN from file "`, "it is not tried again until it is changed there, because tokens lock themselves after a few wrong ones"},
		},
		"no PIN": {
			func(c *token.Config) { c.PIN = token.PINSource{Environment: "HANDFAST_NO_SUCH_PIN"} },
			[]string{"the PIN cannot be read: environment variable HANDFAST_NO_SUCH_PIN is not set"},
		},
		"missing token": {
			func(c *token.Config) { c.Token = "other" },
			[]string{`the token is not there: there is no token "other" in any slot of "`, "pkcs11-tool"},
		},
		"missing key": {
			func(c *token.Config) { c.Object = "other" },
			[]string{`token "acme" holds no key "other", or not its public half or certificate beside it`},
		},
		"missing key by id": {
			func(c *token.Config) { c.Object, c.ID = "", []byte{0xab} },
			[]string{`token "acme" holds no key with id ab,`},
		},
		"missing module": {
			func(c *token.Config) { c.Module = filepath.Join(b.directory, "none.so") },
			[]string{"the PKCS#11 module cannot be loaded: stat ", "no such file"},
		},
		"no module": {
			func(c *token.Config) { c.Module = c.Certificate },
			[]string{`cannot be loaded as a PKCS#11 module: is it one, and for this processor?`},
		},
		"certificate of another key": {
			func(c *token.Config) {
				c.Certificate = b.write("foreign.pem", b.ca.issue(t, newECDSA(t).Public(), request.Subject, nil))
			},
			[]string{`foreign.pem", private key in token "acme": client identity "acme" cannot be used: the private key does not belong to certificate "CN=acme,O=Acme"`},
		},
		"expired certificate for servers": {
			func(c *token.Config) {
				c.Certificate = b.write("bad.pem", b.sign(request, func(x *x509.Certificate) {
					x.NotAfter = time.Now().Add(-time.Minute)
					x.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
				}))
			},
			[]string{"expired on", "its extended key usage lacks clientAuth"},
		},
		"missing certificate": {
			func(c *token.Config) { c.Certificate = filepath.Join(b.directory, "none.pem") },
			[]string{"the certificate cannot be read: stat ", "none.pem"},
		},
		"nothing": {
			func(c *token.Config) { *c = token.Config{} },
			[]string{"module-path is missing", "token is missing", "object is missing", "pin-source is missing"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			config := good
			test.alter(&config)
			s, err := token.Open(t.Context(), "acme", config, token.Options{})
			require.Nil(t, s)
			for _, words := range append(test.want, `client identity "acme"`) {
				require.ErrorContains(t, err, words)
			}
			for _, secret := range []string{rightPIN, wrongPIN} {
				require.NotContains(t, err.Error(), secret)
			}
		})
	}
	b.open(token.Options{}) // the good one still is
}

func TestTwoKeysOfOneNameAreToldApartByID(t *testing.T) {
	b := newBench(t)
	first := b.config
	first.ID, b.config.ID = []byte{1}, []byte{2}
	b.withFile(token.ECDSAP256)
	both := b.config
	_, err := token.Create(t.Context(), first, token.ECDSAP256, b.template())
	require.NoError(t, err)
	both.ID = nil
	_, err = token.Open(t.Context(), "acme", both, token.Options{})
	require.ErrorContains(t, err, `token "acme" holds 2 keys that are called key "web": name one by its id, too`)
	b.open(token.Options{})
}

func TestTheSerialNumberNamesTheTokenToo(t *testing.T) {
	b := newBench(t)
	b.withFile(token.ECDSAP256)
	b.raw(func(p *pkcs11.Ctx, slot uint) {
		info, err := p.GetTokenInfo(slot)
		require.NoError(t, err)
		b.config.Token, b.config.Serial = "", strings.TrimSpace(info.SerialNumber)
	})
	config, err := token.ParseURI(b.config.URI())
	require.NoError(t, err)
	b.config = config
	b.open(token.Options{})
}

func TestACertificateFileIsReadAgain(t *testing.T) {
	b := newBench(t)
	request := b.withFile(token.ECDSAP256)
	renewed := make(chan *mtls.Identity, 1)
	s := b.open(token.Options{Interval: 10 * time.Millisecond, OnChange: func(i *mtls.Identity) { renewed <- i }})
	first := identity(t, s)
	b.run(s)
	b.write("chain.pem", b.sign(request, nil))
	select {
	case i := <-renewed:
		assert.NotEqual(t, first.Generation(), i.Generation())
		assert.Equal(t, i.Generation(), identity(t, s).Generation())
	case <-time.After(soon):
		t.Fatal("the new certificate was not taken up")
	}
	// The identity of before still signs: connections that began with it go on.
	digest := sha256.Sum256([]byte("x"))
	signature, err := signerOf(first).Sign(rand.Reader, digest[:], crypto.SHA256)
	require.NoError(t, err)
	assert.NotEmpty(t, signature)
}

func TestARemovedTokenIsToldAndComesBack(t *testing.T) {
	b := newBench(t)
	b.withFile(token.ECDSAP256)
	var log safeLog
	s := b.open(token.Options{Interval: 10 * time.Millisecond, Logger: log.logger()})
	b.run(s)
	identity(t, s)

	tokens, away := filepath.Join(b.directory, "tokens"), filepath.Join(b.directory, "away")
	require.NoError(t, os.Rename(tokens, away))
	require.NoError(t, os.Mkdir(tokens, 0o700))
	b.restart()
	require.Eventually(t, func() bool { _, err := s.Identity(); return err != nil }, soon, time.Millisecond)
	_, err := s.Identity()
	require.ErrorIs(t, err, mtls.ErrNoIdentity)
	require.ErrorContains(t, err, `client identity "acme"`)

	require.NoError(t, os.Remove(tokens))
	require.NoError(t, os.Rename(away, tokens))
	require.Eventually(t, func() bool { _, err := s.Identity(); return err == nil }, 2*soon, 10*time.Millisecond, log.String())
	assert.NotContains(t, log.String(), rightPIN)
}

func TestAClosedSourceGivesNothing(t *testing.T) {
	b := newBench(t)
	b.withFile(token.ECDSAP256)
	s := b.open(token.Options{})
	i := identity(t, s)
	s.Close()
	s.Close()
	_, err := s.Identity()
	require.ErrorIs(t, err, mtls.ErrNoIdentity)
	digest := sha256.Sum256(nil)
	_, err = signerOf(i).Sign(rand.Reader, digest[:], crypto.SHA256)
	require.ErrorIs(t, err, mtls.ErrNoIdentity)
	require.ErrorContains(t, err, "it was closed")
}
