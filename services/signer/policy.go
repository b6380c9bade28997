package signer

import (
	"fmt"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
)

// allowed refuses to sign with an algorithm that the endpoint's document does not allow, whoever has stored it.
func allowed(to endpoint.Registered, schemes []string) error {
	policy := signature.Policy{Algorithms: to.Signature.Algorithms}
	if err := policy.Check(schemes, signature.Template(to.Signature.Template)); err != nil {
		return fmt.Errorf("nothing is signed for %s, because its signature.algorithms does not allow it; apply a document that does, or with other schemes: %w", to.Key(), err)
	}
	return nil
}
