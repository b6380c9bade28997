package operator

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/seal"
)

// ProfileOf reads the alternative names that a person wants: what has a scheme is a URI, anything else a DNS name.
func ProfileOf(commonName string, names []string, lifetime time.Duration) identity.Profile {
	p := identity.Profile{CommonName: commonName, Lifetime: lifetime}
	for _, name := range names {
		if strings.Contains(name, ":") {
			p.URIs = append(p.URIs, name)
		} else {
			p.DNSNames = append(p.DNSNames, name)
		}
	}
	return p
}

// CheckCreate says everything that is wrong with an identity that somebody wants from an authority of ours. It makes one
// under a key that nobody keeps, because whoever makes it knows the rules.
func CheckCreate(name string, profile identity.Profile) []error {
	vault, err := throwAway()
	if err != nil {
		return []error{err}
	}
	now := time.Now()
	from, err := identity.NewAuthority(MainAuthority, "", 0, vault, now)
	if err == nil {
		_, err = identity.Create(name, from, profile, vault, now)
	}
	return Clauses(err)
}

// CheckRequest is [CheckCreate] for an identity that somebody wants a request for.
func CheckRequest(name string, profile identity.Profile) []error {
	vault, err := throwAway()
	if err != nil {
		return []error{err}
	}
	_, err = identity.Request(name, profile, vault, time.Now())
	return Clauses(err)
}

// CheckAuthority is [CheckCreate] for an authority.
func CheckAuthority(name, commonName string, lifetime time.Duration) []error {
	vault, err := throwAway()
	if err != nil {
		return []error{err}
	}
	_, err = identity.NewAuthority(name, commonName, lifetime, vault, time.Now())
	return Clauses(err)
}

func throwAway() (seal.Vault, error) {
	key, err := seal.GenerateMasterKey(rand.Reader)
	if err != nil {
		return seal.Vault{}, fmt.Errorf("make a key: %w", err)
	}
	return seal.Vault{Current: key}, nil
}

// Clauses takes a refusal apart into the problems that it lists.
func Clauses(err error) []error {
	if err == nil {
		return nil
	}
	refused, ok := errors.AsType[*identity.RefusedError](err)
	if !ok {
		return []error{err}
	}
	all := make([]error, len(refused.Problems))
	for i, problem := range refused.Problems {
		all[i] = errors.New(problem)
	}
	return all
}
