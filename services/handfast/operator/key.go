package operator

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/services/signer"
)

// Keys opens an endpoint's signing keys. None is made here: the error is a [NotFoundError] when no signer has made any.
func (o *Operator) Keys(ctx context.Context, key endpoint.Key, vault signature.Vault) (signature.Ring, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	keyring, err := signer.OpenKeyring(ctx, o.js, o.topology, vault, slog.New(slog.DiscardHandler))
	if err != nil {
		return signature.Ring{}, explain(err)
	}
	// Asked for no scheme, the keyring makes no key.
	ring, err := keyring.Ring(ctx, key, nil)
	if err != nil {
		return signature.Ring{}, fmt.Errorf("%w; this needs the master key that the signers use (--master-key-file)", explain(err))
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
