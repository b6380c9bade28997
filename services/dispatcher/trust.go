package dispatcher

import (
	"sync"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/mtls"
)

// trusts keeps what the trust of each endpoint compiles to, per revision of its document.
type trusts struct {
	mu   sync.RWMutex
	made map[endpoint.Key]compiled
}

type compiled struct {
	revision uint64
	trust    mtls.Trust
}

// maxTrusts bounds the memory; beyond it everything is compiled again as it is needed.
const maxTrusts = 16_384

func (t *trusts) of(to endpoint.Registered) (mtls.Trust, error) {
	key := to.Key()
	t.mu.RLock()
	held, ok := t.made[key]
	t.mu.RUnlock()
	if ok && held.revision == to.Revision {
		return held.trust, nil
	}
	trust, err := mtls.NewTrust(to.TLS.Trust.Roots, to.TLS.Trust.Pins)
	if err != nil {
		return mtls.Trust{}, err //nolint:wrapcheck // told with the endpoint by the caller
	}
	trust = trust.WithRevocation(revocation(to.TLS.Trust.Revocation))
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.made == nil || len(t.made) >= maxTrusts {
		t.made = make(map[endpoint.Key]compiled)
	}
	t.made[key] = compiled{revision: to.Revision, trust: trust}
	return trust, nil
}

func revocation(asked endpoint.Revocation) mtls.RevocationPolicy {
	switch asked {
	case endpoint.RevocationOff:
		return mtls.RevocationIgnore
	case endpoint.RevocationSoft:
		return mtls.RevocationSoft
	case endpoint.RevocationHard:
		return mtls.RevocationHard
	default:
		return mtls.RevocationHard // a word that this release does not know must not weaken anything
	}
}

func minVersion(asked endpoint.MinVersion) mtls.MinVersion {
	switch asked {
	case endpoint.TLS12:
		return mtls.TLS12
	case endpoint.TLS13:
		return mtls.TLS13
	default:
		return mtls.TLS13 // likewise
	}
}
