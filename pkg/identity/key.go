package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/seal"
)

// newKey makes the kind of key that every receiver can check.
func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return key, nil
}

// sealKey binds a private key to its place in the bucket.
func sealKey(vault seal.Vault, place string, key crypto.PrivateKey) (sealedKey, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("a private key of kind %T cannot be stored", key)
	}
	defer clear(der)
	envelope, err := vault.Seal(place, der)
	if err != nil {
		return nil, fmt.Errorf("its key cannot be sealed: %w", err)
	}
	return sealedOf(envelope), nil
}

// openKey returns the private key as PEM. The caller clears it.
func (k sealedKey) open(vault seal.Vault, place string) ([]byte, error) {
	der, err := vault.Open(place, k.raw())
	if err != nil {
		return nil, fmt.Errorf("its key stays closed: %w", err)
	}
	defer clear(der)
	return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), nil
}

// reseal returns the key sealed under the vault's current master key, and whether
// that is another one than before.
func (k sealedKey) reseal(vault seal.Vault, place string) (sealedKey, bool, error) {
	if k == nil {
		return nil, false, nil
	}
	stale, err := vault.Stale(k.raw())
	if err != nil || !stale {
		return k, false, err
	}
	der, err := vault.Open(place, k.raw())
	if err != nil {
		return nil, false, err
	}
	defer clear(der)
	envelope, err := vault.Seal(place, der)
	if err != nil {
		return nil, false, err
	}
	return sealedOf(envelope), true, nil
}

// with returns the record with this certificate and key in use from now on.
func (r Record) with(i *mtls.Identity, vault seal.Vault, now time.Time) (Record, error) {
	pair := i.Certificate()
	key, err := sealKey(vault, r.Key(), pair.PrivateKey)
	if err != nil {
		return Record{}, err
	}
	if r.chain, err = newChain(pair.Certificate); err != nil {
		return Record{}, err
	}
	r.key, r.State, r.Installed = key, Active, stamp(now)
	return r, nil
}

// Open returns the identity, ready to be presented. The error wraps
// mtls.ErrNoIdentity for one that is pending or retired, and else says why its
// key stays closed (causes of package seal) or why the pair cannot be used at
// the time now ([*mtls.IdentityError]).
func (r Record) Open(vault seal.Vault, now time.Time) (*mtls.Identity, error) {
	if err := r.presentable(); err != nil {
		return nil, err
	}
	keyPEM, err := r.key.open(vault, r.Key())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", identityLabel(r.Name), err)
	}
	defer clear(keyPEM)
	return mtls.NewIdentity(r.Name, []byte(r.chain.text), keyPEM, now)
}

// presentable says why there is nothing to present, whatever the time.
func (r Record) presentable() error {
	switch r.State {
	case Active:
		if r.key != nil && r.chain.leaf != nil {
			return nil
		}
	case Pending:
		return fmt.Errorf("%w: %s waits for its certificate: have the request of %s signed by the receiver's CA, then install what comes back",
			mtls.ErrNoIdentity, identityLabel(r.Name), utc(r.Requested))
	case Retired:
		return fmt.Errorf("%w: %s was retired on %s: let its endpoints name another one",
			mtls.ErrNoIdentity, identityLabel(r.Name), utc(r.Retired))
	}
	return fmt.Errorf("%w: the record of %s is not complete", mtls.ErrNoIdentity, identityLabel(r.Name))
}

// Retire returns the record without its keys: it is never presented again. That
// cannot be undone. The error is a [*RefusedError] if it has retired already.
func (r Record) Retire(now time.Time) (Record, error) {
	if r.State == Retired {
		return Record{}, &RefusedError{
			What: identityLabel(r.Name), Act: "retired", Problems: []string{"it was retired on " + utc(r.Retired) + " already"},
		}
	}
	r.State, r.Retired, r.Requested = Retired, stamp(now), time.Time{}
	r.key, r.next, r.request = nil, nil, ""
	return r, nil
}

// Reseal returns the record with its keys sealed under the vault's current master
// key, and whether that changed anything. Do it to every record before a master
// key is thrown away. The error is one of package seal.
func (r Record) Reseal(vault seal.Vault) (resealed Record, changed bool, err error) {
	var key, next bool
	if r.key, key, err = r.key.reseal(vault, r.Key()); err != nil {
		return Record{}, false, fmt.Errorf("%s: %w", identityLabel(r.Name), err)
	}
	if r.next, next, err = r.next.reseal(vault, r.Key()); err != nil {
		return Record{}, false, fmt.Errorf("%s: %w", identityLabel(r.Name), err)
	}
	return r, key || next, nil
}
