//go:build cgo

package token

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"

	"github.com/ThalesGroup/crypto11"
	"github.com/miekg/pkcs11"
)

// Numbers of PKCS#11 3.0 (section 6.3) that the bindings do not name yet.
const (
	mechanismEdDSA = 0x1057 // CKM_EDDSA
	keyTypeEdwards = 0x40   // CKK_EC_EDWARDS
)

// isEdwards tells from an error of crypto11 that it has met a key on an Edwards
// curve, for which it has no code.
func isEdwards(err error) bool {
	return err != nil && strings.Contains(err.Error(), fmt.Sprintf("unsupported key type: %X", keyTypeEdwards))
}

// edwards is an Ed25519 key. crypto11 has opened the token and logged in, which
// holds for every session of this process; the rest is done on the module itself.
type edwards struct {
	module   *crypto11.Context
	p        *pkcs11.Ctx
	config   Config
	sessions *sessions
	private  pkcs11.ObjectHandle
	id       []byte
	public   ed25519.PublicKey
}

// openEdwards finds the one Ed25519 key that is meant. It closes module when it
// fails.
func openEdwards(module *crypto11.Context, config Config) (d *device, err error) {
	p := pkcs11.New(config.Module) // it is initialised already
	if p == nil {
		_ = module.Close() // it never fails
		return nil, fmt.Errorf("%q cannot be loaded as a PKCS#11 module", config.Module)
	}
	e := &edwards{module: module, p: p, config: config}
	defer func() {
		if err != nil {
			e.close()
		}
	}()
	slot, err := e.slot()
	if err != nil {
		return nil, inWords(config, err)
	}
	e.sessions = newSessions(p, slot, config.sessions()-1) // one of crypto11's holds the login
	if err := e.use(e.find); err != nil {
		return nil, err
	}
	extractable, err := e.extractable()
	if err != nil {
		return nil, err
	}
	found := certificates{module: module, config: config, id: e.id, label: []byte(config.Object)}
	return &device{
		public: e.public, extractable: extractable,
		sign: e.sign, certificate: found.find, store: found.store, check: e.check, close: e.close,
		remove: func() error { return errors.New("an Ed25519 key is not deleted by this program") },
	}, nil
}

// use does one thing with a session, and says in words what a module's return code
// means. What is in words already stays as it is.
func (e *edwards) use(work func(pkcs11.SessionHandle) error) error {
	err := e.sessions.use(work)
	if _, coded := errors.AsType[pkcs11.Error](err); coded {
		return inWords(e.config, err)
	}
	return err
}

// slot finds the token as crypto11 has found it.
func (e *edwards) slot() (uint, error) {
	slots, err := e.p.GetSlotList(true)
	if err != nil {
		return 0, err //nolint:wrapcheck // put in words by the caller
	}
	for _, slot := range slots {
		info, err := e.p.GetTokenInfo(slot)
		if err != nil {
			return 0, err //nolint:wrapcheck // as above
		}
		if e.config.Token != "" && info.Label == e.config.Token || e.config.Serial != "" && info.SerialNumber == e.config.Serial {
			return slot, nil
		}
	}
	return 0, pkcs11.Error(pkcs11.CKR_TOKEN_NOT_PRESENT)
}

// find wants exactly one private key of that name, of whatever kind.
func (e *edwards) find(session pkcs11.SessionHandle) error {
	template := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY)}
	if len(e.config.ID) > 0 {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_ID, e.config.ID))
	}
	if e.config.Object != "" {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_LABEL, []byte(e.config.Object)))
	}
	keys, err := e.objects(session, template)
	switch {
	case err != nil:
		return err
	case len(keys) == 0:
		return fmt.Errorf("%w: %s holds no %s any more", errLost, e.config.tokenName(), e.config.keyName())
	case len(keys) > 1:
		return fmt.Errorf("%s holds more than one key that is called %s: name one by its id, too", e.config.tokenName(), e.config.keyName())
	}
	e.private = keys[0]
	attributes, err := e.p.GetAttributeValue(session, e.private, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_ID, nil)})
	if err != nil {
		return err //nolint:wrapcheck // put in words by the caller
	}
	e.id = attributes[0].Value
	halves, err := e.objects(session, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, keyTypeEdwards),
		pkcs11.NewAttribute(pkcs11.CKA_ID, e.id),
	})
	if err != nil {
		return err
	}
	if len(halves) != 1 {
		return fmt.Errorf("%s holds %d public halves of its %s, and one is needed: look with pkcs11-tool --list-objects --login",
			e.config.tokenName(), len(halves), e.config.keyName())
	}
	attributes, err = e.p.GetAttributeValue(session, halves[0], []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_POINT, nil)})
	if err != nil {
		return err //nolint:wrapcheck // as above
	}
	e.public, err = edwardsPoint(attributes[0].Value)
	return err
}

// edwardsPoint reads CKA_EC_POINT: PKCS#11 3.0 has the bare bytes, and tokens from
// before it a DER OCTET STRING around them.
func edwardsPoint(point []byte) (ed25519.PublicKey, error) {
	point = bytes.Clone(bytes.TrimPrefix(point, edwardsHead(point)))
	if len(point) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("it is a key on another Edwards curve than that of Ed25519: its public half has %d bytes", len(point))
	}
	return point, nil
}

// edwardsHead is the head of an OCTET STRING of 32 bytes, if that is what it is.
func edwardsHead(point []byte) []byte {
	if len(point) == ed25519.PublicKeySize+2 && point[0] == 0x04 && point[1] == ed25519.PublicKeySize {
		return point[:2]
	}
	return nil
}

func (e *edwards) objects(session pkcs11.SessionHandle, template []*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	if err := e.p.FindObjectsInit(session, template); err != nil {
		return nil, err //nolint:wrapcheck // put in words by the caller
	}
	found, _, err := e.p.FindObjects(session, 2)
	if ended := e.p.FindObjectsFinal(session); err == nil {
		err = ended
	}
	return found, err //nolint:wrapcheck // as above
}

// extractable is true when the token does not say that it is not.
func (e *edwards) extractable() (leaves bool, err error) {
	err = e.use(func(session pkcs11.SessionHandle) error {
		attributes, err := e.p.GetAttributeValue(session, e.private, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, nil)})
		if err == nil {
			leaves = len(attributes[0].Value) != 1 || attributes[0].Value[0] != 0
		}
		return err //nolint:wrapcheck // put in words by the caller
	})
	return leaves, err
}

// sign signs the message itself (PureEdDSA, RFC 8032).
func (e *edwards) sign(message []byte, options crypto.SignerOpts) (signature []byte, err error) {
	if options.HashFunc() != 0 || len(message) == 0 {
		return nil, errors.New("an Ed25519 key signs a whole message, neither a digest nor nothing")
	}
	err = e.use(func(session pkcs11.SessionHandle) error {
		if err := e.p.SignInit(session, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanismEdDSA, nil)}, e.private); err != nil {
			return err //nolint:wrapcheck // put in words below
		}
		signature, err = e.p.Sign(session, message)
		return err //nolint:wrapcheck // as above
	})
	return signature, err
}

func (e *edwards) check() error {
	return e.use(func(session pkcs11.SessionHandle) error {
		_, err := e.p.GetAttributeValue(session, e.private, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_ID, nil)})
		return err //nolint:wrapcheck // put in words here
	})
}

func (e *edwards) close() {
	if e.sessions != nil {
		e.sessions.close()
	}
	e.p.Destroy()
	_ = e.module.Close() // it never fails
}
