package identity

import (
	"fmt"
	"hash/fnv"
	"net/url"
	"slices"
	"time"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/seal"
)

// backdate lets a receiver whose clock is late accept a certificate that was
// issued this instant; short-lived ones give a twentieth of their life for it.
const backdate = time.Hour

// Create makes an identity whose certificates our own authority issues and, from
// then on, renews. The profile needs an alternative name. The error is a
// [*RefusedError] with everything that is wrong.
func Create(name string, from Authority, profile Profile, vault seal.Vault, now time.Time) (Record, error) {
	if profile.Lifetime == 0 {
		profile.Lifetime = defaultLifetime
	}
	profile = profile.complete()
	wrong := slices.Concat(profile.problems(), profile.lifetimeProblems())
	wrong.take(CheckName(name))
	if from.State != AuthorityActive {
		wrong.addf("authority %q is %s and issues for no new identity: name an active one", from.Name, from.State)
	}
	if err := wrong.refuse(identityLabel(name), "created"); err != nil {
		return Record{}, err
	}
	r := Record{Name: name, Origin: FromAuthority, State: Active, Profile: profile, Authority: from.Name, Created: stamp(now)}
	return r.issue(from, vault, now, "created")
}

// RenewAt is when our authority shall issue the next certificate: after two
// thirds of the life of this one, and up to a twentieth of its life later, by the
// identity's name, so that not all renew at once. It is zero for an identity that
// our authority does not renew.
func (r Record) RenewAt() time.Time {
	if r.Origin != FromAuthority || r.State != Active || r.chain.leaf == nil {
		return time.Time{}
	}
	life := r.chain.leaf.NotAfter.Sub(r.chain.leaf.NotBefore)
	at := r.chain.leaf.NotBefore.Add(life / 3 * 2)
	if spread := life / 20; spread > 0 {
		sum := fnv.New64a()
		_, _ = sum.Write([]byte(r.Name))                         // never fails
		at = at.Add(time.Duration(sum.Sum64() % uint64(spread))) //nolint:gosec // less than spread, which is a Duration
	}
	return stamp(at)
}

// Due tells whether our authority shall issue the next certificate now.
func (r Record) Due(now time.Time) bool {
	at := r.RenewAt()
	return !at.IsZero() && !now.Before(at)
}

// Renew returns the record with a new key and a new certificate of the same
// authority. The old key is gone from it. The error is a [*RefusedError]: the
// authority has retired, it cannot be opened, or it ends so soon that the new
// certificate would not last longer than this one.
func (r Record) Renew(from Authority, vault seal.Vault, now time.Time) (Record, error) {
	var wrong problems
	if r.Origin != FromAuthority || r.State != Active {
		wrong.addf("it is %s and %s; only an active identity of our own authority is renewed like this", r.Origin, r.State)
	} else if from.Name != r.Authority {
		wrong.addf("it belongs to authority %q, not to %q; to change the authority, create another identity and rotate to it", r.Authority, from.Name)
	}
	if from.State == AuthorityRetired {
		wrong.addf("authority %q has retired: create another identity under an active authority and rotate to it", from.Name)
	}
	if err := wrong.refuse(identityLabel(r.Name), "renewed"); err != nil {
		return Record{}, err
	}
	if root := from.Certificate(); root != nil && !root.NotAfter.After(r.chain.leaf.NotAfter) {
		wrong.addf("authority %q ends on %s, and so does its certificate already: create another authority and an identity under it, and rotate to that",
			from.Name, utc(root.NotAfter))
		return Record{}, wrong.refuse(identityLabel(r.Name), "renewed")
	}
	return r.issue(from, vault, now, "renewed")
}

// issue gets a certificate for a new key.
func (r Record) issue(from Authority, vault seal.Vault, now time.Time, act string) (Record, error) {
	refuse := func(err error) (Record, error) {
		return Record{}, refuseFor(err, identityLabel(r.Name), act)
	}
	ca, err := from.Open(vault, now)
	if err != nil {
		return refuse(err)
	}
	leaf, err := r.leaf(ca, now)
	if err != nil {
		return refuse(err)
	}
	chainPEM, keyPEM, err := ca.Issue(leaf)
	if err != nil {
		return refuse(err)
	}
	defer clear(keyPEM)
	i, err := mtls.NewIdentity(r.Name, chainPEM, keyPEM, now)
	if err != nil {
		return refuse(err)
	}
	if r, err = r.with(i, vault, now); err != nil {
		return refuse(err)
	}
	return r, nil
}

// leaf is what the certificate shall say. It lasts no longer than its authority.
func (r Record) leaf(ca *authority.Authority, now time.Time) (authority.Leaf, error) {
	p := r.Profile
	leaf := authority.Leaf{
		CommonName: p.CommonName, Organization: p.Organization, DNSNames: p.DNSNames, Client: true,
		NotBefore: now.Add(-min(backdate, p.Lifetime/20)), NotAfter: now.Add(p.Lifetime),
	}
	if root := ca.Certificate(); leaf.NotAfter.After(root.NotAfter) {
		leaf.NotAfter = root.NotAfter
	}
	if root := ca.Certificate(); leaf.NotBefore.Before(root.NotBefore) {
		leaf.NotBefore = root.NotBefore
	}
	for _, text := range p.URIs {
		u, err := url.Parse(text)
		if err != nil {
			return leaf, fmt.Errorf("%q is not a URI: %w", text, err)
		}
		leaf.URIs = append(leaf.URIs, u)
	}
	return leaf, nil
}
