package operator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/services/signer"
)

// Keys opens an endpoint's signing keys. None is made here: the error is a [NotFoundError] when no signer has made any.
func (o *Operator) Keys(ctx context.Context, key endpoint.Key, vault signature.Vault) (signature.Ring, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	keyring, err := o.keyring(ctx, vault)
	if err != nil {
		return signature.Ring{}, err
	}
	// Asked for no scheme, the keyring makes no key.
	ring, err := keyring.Ring(ctx, key, nil)
	if err != nil {
		return signature.Ring{}, closed(err)
	}
	if len(ring.Keys()) > 0 {
		return ring, nil
	}
	if _, err := o.Endpoint(ctx, key); err != nil {
		return signature.Ring{}, err
	}
	return signature.Ring{}, &NotFoundError{
		What: "no signer has made keys for " + key.String() + " yet",
		Hint: "a signer does that within a second after it sees the endpoint; is one running on this NATS server?",
	}
}

func (o *Operator) keyring(ctx context.Context, vault signature.Vault) (*signer.Keyring, error) {
	keyring, err := signer.OpenKeyring(ctx, o.js, o.topology, vault, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, explain(err)
	}
	return keyring, nil
}

// closed says what opens a ring that stays closed; other errors are explained as those of the broker.
func closed(err error) error {
	if errors.Is(err, signature.ErrWrongMasterKey) {
		return fmt.Errorf("%w; this needs the master key that the signers use (--master-key-file)", err)
	}
	return explain(err)
}

// HeldKeys are the keys of one endpoint, or why they stay closed.
type HeldKeys struct {
	Endpoint endpoint.Key
	Ring     signature.Ring
	Closed   error
}

// listTime bounds reading the keys of every endpoint.
const listTime = 2 * requestTime

// AllKeys opens the keys of every endpoint of a tenant, or of all of them for "", in the order of their names.
func (o *Operator) AllKeys(ctx context.Context, tenant string, vault signature.Vault) ([]HeldKeys, error) {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	keyring, err := o.keyring(ctx, vault)
	if err != nil {
		return nil, err
	}
	var all []HeldKeys
	err = keyring.Rings(ctx, endpoint.Key{Tenant: tenant}, func(key endpoint.Key, ring signature.Ring, err error) error {
		held := HeldKeys{Endpoint: key, Ring: ring}
		if err != nil {
			held.Closed = closed(err)
		}
		all = append(all, held)
		return nil
	})
	slices.SortFunc(all, func(a, b HeldKeys) int { return strings.Compare(a.Endpoint.String(), b.Endpoint.String()) })
	return all, explain(err)
}

// fits refuses a vault that opens nothing of what is stored, before something is stored that no signer could open.
func fits(ctx context.Context, keyring *signer.Keyring) error {
	var wrong error
	enough := errors.New("one is enough")
	err := keyring.Rings(ctx, endpoint.Key{}, func(_ endpoint.Key, _ signature.Ring, err error) error {
		if errors.Is(err, signature.ErrWrongMasterKey) {
			wrong = err
			return nil
		}
		wrong = nil
		return enough
	})
	if err != nil && !errors.Is(err, enough) {
		return explain(err)
	}
	if wrong != nil {
		return fmt.Errorf("--master-key-file names another key than the one that sealed what is stored, so signers could not open what you add; give theirs: %w", wrong)
	}
	return nil
}
