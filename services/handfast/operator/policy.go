package operator

import (
	"context"
	"fmt"

	"github.com/handfast/handfast/pkg/endpoint"
)

// NoOverlap says in words what a rotation of a scheme's keys means where old and new key cannot sign side by side, because
// the scheme's format has room for one signature, and "" where they can.
func (o *Operator) NoOverlap(ctx context.Context, to endpoint.Key, scheme string) (string, error) {
	use, err := o.use(ctx, to)
	if err != nil || !use.oneKey(scheme) {
		return "", err
	}
	return fmt.Sprintf("Scheme %s has room for one signature, so this rotation has no overlap: a receiver of %s that does not accept the next key already refuses requests from that moment on.", scheme, to), nil
}
