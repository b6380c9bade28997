//go:build cgo

package token

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"

	"github.com/ThalesGroup/crypto11"
	"github.com/miekg/pkcs11"
)

// openDevice logs in to the token and finds the one key that is meant.
func openDevice(config Config, secret pin) (*device, error) {
	module, err := login(config, secret)
	if err != nil {
		return nil, err
	}
	key, err := findKey(module, config)
	if isEdwards(err) {
		return openEdwards(module, config)
	}
	if err != nil {
		_ = module.Close() // it never fails
		return nil, err
	}
	return newDevice(module, config, key)
}

// findKey wants exactly one: with two, which of them signs would be chance.
func findKey(module *crypto11.Context, config Config) (crypto11.Signer, error) {
	keys, err := module.FindKeyPairs(config.ID, []byte(config.Object))
	switch {
	case err != nil:
		return nil, inWords(config, err)
	case len(keys) == 0:
		return nil, fmt.Errorf("%s holds no %s, or not its public half or certificate beside it: "+
			"look with pkcs11-tool --list-objects --login", config.tokenName(), config.keyName())
	case len(keys) > 1:
		return nil, fmt.Errorf("%s holds %d keys that are called %s: name one by its id, too", config.tokenName(), len(keys), config.keyName())
	}
	return keys[0], nil
}

func newDevice(module *crypto11.Context, config Config, key crypto11.Signer) (*device, error) {
	attributes, err := module.GetAttributes(key, []crypto11.AttributeType{crypto11.CkaId, crypto11.CkaLabel, crypto11.CkaExtractable})
	if err != nil {
		_ = module.Close()
		return nil, inWords(config, err)
	}
	value := func(kind crypto11.AttributeType) []byte {
		if a := attributes[kind]; a != nil {
			return a.Value
		}
		return nil
	}
	id, label := value(crypto11.CkaId), value(crypto11.CkaLabel)
	extractable := value(crypto11.CkaExtractable)
	found := certificates{module: module, config: config, id: id, label: label}
	return &device{
		public:      key.Public(),
		extractable: len(extractable) != 1 || extractable[0] != 0,
		sign: func(digest []byte, options crypto.SignerOpts) ([]byte, error) {
			signature, err := key.Sign(rand.Reader, cut(key.Public(), digest), options)
			return signature, inWords(config, err)
		},
		certificate: found.find,
		store:       found.store,
		check:       func() error { return check(module, config) },
		remove:      func() error { return inWords(config, key.Delete()) },
		close:       func() { _ = module.Close() },
	}, nil
}

// check asks for something that is not in the module's own memory, and then for the key.
func check(module *crypto11.Context, config Config) error {
	random, err := module.NewRandomReader()
	if err != nil {
		return inWords(config, err)
	}
	if _, err := random.Read(make([]byte, 1)); err != nil {
		return inWords(config, err)
	}
	keys, err := module.FindKeyPairs(config.ID, []byte(config.Object))
	if err == nil && len(keys) == 0 {
		return fmt.Errorf("%w: %s holds no %s any more", errLost, config.tokenName(), config.keyName())
	}
	return inWords(config, err)
}

// cut leaves of a digest what ECDSA uses of it, its leftmost bits (FIPS 186-5
// section 6.4.1): not every token does that by itself.
func cut(public crypto.PublicKey, digest []byte) []byte {
	if key, ok := public.(*ecdsa.PublicKey); ok {
		return digest[:min(len(digest), (key.Curve.Params().BitSize+7)/8)]
	}
	return digest
}

// certificates are those of one key in the token.
type certificates struct {
	module    *crypto11.Context
	config    Config
	id, label []byte
}

// find prefers the id, by which PKCS#11 ties a certificate to its key.
func (c certificates) find() (*x509.Certificate, error) {
	for _, place := range []struct{ id, label []byte }{{id: c.id}, {label: c.label}} {
		if len(place.id)+len(place.label) == 0 {
			continue
		}
		certificate, err := c.module.FindCertificate(place.id, place.label, nil)
		if err != nil {
			return nil, inWords(c.config, err)
		}
		if certificate != nil {
			return certificate, nil
		}
	}
	return nil, fmt.Errorf("%s holds no certificate for its %s: store one there, or name a file with certificate=/PATH",
		c.config.tokenName(), c.config.keyName())
}

// store writes the new one before it deletes the old one, so that there is one at every moment.
func (c certificates) store(certificate *x509.Certificate) error {
	if len(c.id) == 0 {
		return fmt.Errorf("the %s has no id (CKA_ID), which is what makes a certificate its own: name a file with certificate=/PATH instead",
			c.config.keyName())
	}
	old, err := c.module.FindCertificate(c.id, nil, nil)
	if err != nil {
		return inWords(c.config, err)
	}
	if old != nil && bytes.Equal(old.Raw, certificate.Raw) {
		return nil
	}
	attributes := crypto11.NewAttributeSet()
	attributes.AddIfNotPresent([]*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_ID, c.id), pkcs11.NewAttribute(pkcs11.CKA_LABEL, c.label),
	})
	if err := c.module.ImportCertificateWithAttributes(attributes, certificate); err != nil {
		return inWords(c.config, err)
	}
	if old != nil {
		return inWords(c.config, c.module.DeleteCertificate(c.id, nil, old.SerialNumber))
	}
	return nil
}

// createKey makes a key that cannot be read out, and refuses to make a second one of that name.
func createKey(config Config, secret pin, kind KeyKind) (*device, error) {
	module, err := login(config, secret)
	if err != nil {
		return nil, err
	}
	key, err := generate(module, config, kind)
	if err != nil {
		_ = module.Close()
		return nil, err
	}
	return newDevice(module, config, key)
}

func generate(module *crypto11.Context, config Config, kind KeyKind) (crypto11.Signer, error) {
	have, err := module.FindKeyPairs(config.ID, []byte(config.Object))
	switch {
	case err != nil:
		return nil, inWords(config, err)
	case len(have) > 0:
		return nil, fmt.Errorf("%s holds a %s already: choose another object, or delete that key yourself", config.tokenName(), config.keyName())
	}
	public, private := templates(config)
	var key crypto11.Signer
	switch kind {
	case ECDSAP256:
		key, err = module.GenerateECDSAKeyPairWithAttributes(public, private, elliptic.P256())
	case ECDSAP384:
		key, err = module.GenerateECDSAKeyPairWithAttributes(public, private, elliptic.P384())
	case RSA3072:
		key, err = module.GenerateRSAKeyPairWithAttributes(public, private, 3072)
	default:
		return nil, fmt.Errorf("there is no kind of key %d", kind)
	}
	return key, inWords(config, err)
}

// templates are the attributes of both halves of a new key: it signs and does nothing else, and it never leaves.
func templates(config Config) (public, private crypto11.AttributeSet) {
	id := config.ID
	if len(id) == 0 {
		id = make([]byte, 16)
		_, _ = rand.Read(id) // it never fails
	}
	attributes := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_ID, id)}
	if config.Object != "" {
		attributes = append(attributes, pkcs11.NewAttribute(pkcs11.CKA_LABEL, []byte(config.Object)))
	}
	public, private = crypto11.NewAttributeSet(), crypto11.NewAttributeSet()
	public.AddIfNotPresent(attributes)
	public.AddIfNotPresent([]*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true),
		pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, false),
	})
	private.AddIfNotPresent(attributes)
	private.AddIfNotPresent([]*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_SIGN, true),
		pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, false),
	})
	return public, private
}
