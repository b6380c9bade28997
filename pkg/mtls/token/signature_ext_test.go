//go:build cgo

package token_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls/token"
)

// A peer may choose SHA-512 with P-256 on TLS 1.2.
func TestALongDigestIsCut(t *testing.T) {
	b := newBench(t)
	b.withFile(token.ECDSAP256)
	i := identity(t, b.open(token.Options{}))
	digest := sha512.Sum512([]byte("x"))
	signature, err := signerOf(i).Sign(rand.Reader, digest[:], crypto.SHA512)
	require.NoError(t, err)
	assert.True(t, ecdsa.VerifyASN1(i.Leaf().PublicKey.(*ecdsa.PublicKey), digest[:], signature))
}

func TestRSASignsBothWays(t *testing.T) {
	b := newBench(t)
	b.withFile(token.RSA3072)
	i := identity(t, b.open(token.Options{}))
	public, digest := i.Leaf().PublicKey.(*rsa.PublicKey), sha512.Sum512([]byte("x"))

	signature, err := signerOf(i).Sign(rand.Reader, digest[:], crypto.SHA512)
	require.NoError(t, err)
	require.NoError(t, rsa.VerifyPKCS1v15(public, crypto.SHA512, digest[:], signature))

	options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA512}
	signature, err = signerOf(i).Sign(rand.Reader, digest[:], options)
	require.NoError(t, err)
	require.NoError(t, rsa.VerifyPSS(public, crypto.SHA512, digest[:], signature, options))
}

func TestAKeyKnownByItsIDAlone(t *testing.T) {
	b := newBench(t)
	b.config.Object, b.config.ID = "", []byte{0xab, 0}
	request := b.create(token.ECDSAP256)
	stored, err := token.Store(t.Context(), b.config, "acme", b.sign(request, nil), time.Now())
	require.NoError(t, err)
	assert.Equal(t, stored.Fingerprint(), identity(t, b.open(token.Options{})).Fingerprint())
}

// Such a key was made by somebody else: Create makes none.
func TestAKeyThatCanLeaveIsToldOf(t *testing.T) {
	for name, leaves := range map[string]bool{"can leave": true, "stays": false} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.raw(func(p *pkcs11.Ctx, slot uint) {
				session, err := p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
				require.NoError(t, err)
				require.NoError(t, p.Login(session, pkcs11.CKU_USER, rightPIN))
				named := []*pkcs11.Attribute{
					pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte{1}),
					pkcs11.NewAttribute(pkcs11.CKA_LABEL, "web"),
				}
				curve := pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07})
				_, _, err = p.GenerateKeyPair(session, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_EC_KEY_PAIR_GEN, nil)},
					append([]*pkcs11.Attribute{curve, pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true)}, named...),
					append([]*pkcs11.Attribute{
						pkcs11.NewAttribute(pkcs11.CKA_SIGN, true), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, leaves),
						pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
					}, named...))
				require.NoError(t, err)
			})
			text, err := token.Request(t.Context(), b.config, b.template())
			require.NoError(t, err)
			b.config.Certificate = b.write("chain.pem", b.sign(parseRequest(t, text), nil))
			var log safeLog
			b.open(token.Options{Logger: log.logger()})
			if leaves {
				assert.Contains(t, log.String(), "can be read out of its token")
			} else {
				assert.Empty(t, log.String())
			}
		})
	}
}
