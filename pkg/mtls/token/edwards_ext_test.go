//go:build cgo

package token_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"sync"
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls/token"
)

// edwards makes an Ed25519 key in the token, as an operator's tool does.
func (b *bench) edwards(id byte, label string) {
	b.tb.Helper()
	b.raw(func(p *pkcs11.Ctx, slot uint) {
		session, err := p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		require.NoError(b.tb, err)
		defer func() { require.NoError(b.tb, p.CloseSession(session)) }()
		if err := p.Login(session, pkcs11.CKU_USER, rightPIN); err != nil {
			require.ErrorIs(b.tb, err, pkcs11.Error(pkcs11.CKR_USER_ALREADY_LOGGED_IN))
		}
		named := func(more ...*pkcs11.Attribute) []*pkcs11.Attribute {
			return append(more, pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte{id}), pkcs11.NewAttribute(pkcs11.CKA_LABEL, label))
		}
		const generateEdwards = 0x1055                       // CKM_EC_EDWARDS_KEY_PAIR_GEN
		curve := append([]byte{0x13, 12}, "edwards25519"...) // PrintableString
		_, _, err = p.GenerateKeyPair(session, []*pkcs11.Mechanism{pkcs11.NewMechanism(generateEdwards, nil)},
			named(pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, curve), pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true)),
			named(pkcs11.NewAttribute(pkcs11.CKA_SIGN, true), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false), pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true)))
		require.NoError(b.tb, err)
	})
}

func (b *bench) key() (*token.Key, *safeLog) {
	b.tb.Helper()
	log := new(safeLog)
	k, err := token.NewKey(b.config, log.logger())
	require.NoError(b.tb, err)
	b.tb.Cleanup(k.Close)
	return k, log
}

func TestAnEd25519KeySignsInTheToken(t *testing.T) {
	b := newBench(t)
	b.edwards(1, "web")
	k, log := b.key()
	public, err := k.Public(t.Context())
	require.NoError(t, err)
	edwards, ok := public.(ed25519.PublicKey)
	require.True(t, ok)
	sign := func(message string) {
		signature, err := k.Sign(t.Context(), []byte(message), crypto.Hash(0))
		if assert.NoError(t, err) {
			assert.True(t, ed25519.Verify(edwards, []byte(message), signature))
		}
	}
	sign("hello")
	sign(string(make([]byte, 300_000)))
	_, err = k.Sign(t.Context(), nil, crypto.Hash(0))
	require.ErrorContains(t, err, "a whole message")
	digest := sha256.Sum256(nil)
	_, err = k.Sign(t.Context(), digest[:], crypto.SHA256)
	require.ErrorContains(t, err, "a whole message")

	var all sync.WaitGroup
	for range 40 {
		all.Go(func() { sign("at the same time") })
	}
	all.Wait()
	b.restart()
	sign("after a restart")
	assert.Contains(t, log.String(), "token is back")
	assert.NotContains(t, log.String(), rightPIN)

	b.edwards(2, "web")
	b.restart()
	_, err = k.Sign(t.Context(), []byte("x"), crypto.Hash(0))
	require.ErrorContains(t, err, "more than one key that is called")
	b.config.ID = []byte{2}
	k.Close()
	second, _ := b.key()
	other, err := second.Public(t.Context())
	require.NoError(t, err)
	assert.False(t, edwards.Equal(other))
}

func TestAnECDSAKeyWithoutACertificate(t *testing.T) {
	b := newBench(t)
	b.create(token.ECDSAP256)
	k, _ := b.key()
	digest := sha256.Sum256([]byte("x"))
	signature, err := k.Sign(t.Context(), digest[:], crypto.SHA256)
	require.NoError(t, err)
	public, err := k.Public(t.Context())
	require.NoError(t, err)
	assert.True(t, ecdsa.VerifyASN1(public.(*ecdsa.PublicKey), digest[:], signature))

	b.config.Object = "nobody"
	missing, _ := b.key()
	_, err = missing.Public(t.Context())
	require.ErrorIs(t, err, token.ErrNoKey)
	require.ErrorContains(t, err, `holds no key "nobody"`)
}

// A client identity may be an Ed25519 key as well.
func TestAnEd25519Identity(t *testing.T) {
	b := newBench(t)
	b.edwards(1, "web")
	text, err := token.Request(t.Context(), b.config, b.template())
	require.NoError(t, err)
	b.config.Certificate = b.write("chain.pem", b.sign(parseRequest(t, text), nil))
	i := identity(t, b.open(token.Options{}))
	signature, err := signerOf(i).Sign(nil, []byte("handshake"), crypto.Hash(0))
	require.NoError(t, err)
	assert.True(t, ed25519.Verify(i.Leaf().PublicKey.(ed25519.PublicKey), []byte("handshake"), signature))
}

func BenchmarkSignInTheToken(b *testing.B) {
	for name, message := range map[string][]byte{"ed25519-1KiB": make([]byte, 1024), "ecdsa": make([]byte, 32)} {
		b.Run(name, func(b *testing.B) {
			box := newBench(b)
			options := crypto.SignerOpts(crypto.Hash(0))
			if name == "ecdsa" {
				box.create(token.ECDSAP256)
				options = crypto.SHA256
			} else {
				box.edwards(1, "web")
			}
			k, _ := box.key()
			_, err := k.Public(b.Context())
			require.NoError(b, err)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := k.Sign(b.Context(), message, options); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
