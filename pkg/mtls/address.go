package mtls

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
)

// AddressPolicy decides which addresses may be dialled on behalf of somebody
// else. It refuses everything that is not an ordinary public address, so that a
// receiver's URL cannot reach into our own network (server-side request
// forgery). Use Control in a net.Dialer: it sees the address after name
// resolution, and a name cannot resolve to one address for the check and to
// another for the connection.
//
// The zero value allows public addresses only.
type AddressPolicy struct {
	// Allow lists ranges that are reachable although they are not public. The
	// metadata services of clouds, which hand out credentials, are opened only
	// by a prefix that covers exactly their one address.
	Allow []netip.Prefix
}

// AddressForbiddenError is an address that the policy refused. Nothing was sent
// to it.
type AddressForbiddenError struct {
	Addr   netip.Addr // invalid when there was no address to speak of
	Reason string     // a clause in words, such as "it is a loopback address"
}

// Error says what to do if the address is meant.
func (e *AddressForbiddenError) Error() string {
	if !e.Addr.IsValid() {
		return "connection forbidden: " + e.Reason
	}
	advice := "add its range to the allowed addresses"
	switch {
	case e.Addr.Zone() != "":
		advice = "give it an address without a zone"
	case isMetadata(e.Addr.Unmap()):
		advice = "add exactly this address to the allowed ones"
	}
	return fmt.Sprintf("address %s is forbidden: %s; if this receiver is meant to be there, %s", e.Addr, e.Reason, advice)
}

// ParseAddressPolicy reads the ranges of [AddressPolicy.Allow], each a CIDR
// prefix ("10.20.0.0/16") or a single address. The error tells everything that
// is wrong at once.
func ParseAddressPolicy(cidrs []string) (AddressPolicy, error) {
	var policy AddressPolicy
	var problems []error
	for _, cidr := range cidrs {
		prefix, err := parsePrefix(cidr)
		if err != nil {
			problems = append(problems, fmt.Errorf("allowed range %q: %w", cidr, err))
			continue
		}
		if !slices.Contains(policy.Allow, prefix) {
			policy.Allow = append(policy.Allow, prefix)
		}
	}
	if len(problems) > 0 {
		return AddressPolicy{}, errors.Join(problems...)
	}
	return policy, nil
}

func parsePrefix(cidr string) (netip.Prefix, error) {
	var prefix netip.Prefix
	if strings.Contains(cidr, "/") {
		p, err := netip.ParsePrefix(cidr)
		if err != nil {
			return prefix, errors.New("is not a prefix such as 10.20.0.0/16 or fd12:3456::/32")
		}
		prefix = p
	} else {
		addr, err := netip.ParseAddr(cidr)
		if err != nil {
			return prefix, errors.New("is neither an address nor a prefix such as 10.20.0.0/16")
		}
		if addr.Zone() != "" { // which a prefix would silently lose
			return prefix, errors.New("has a zone: addresses with zones are never dialled")
		}
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	switch {
	case prefix.Addr().Is4In6():
		return netip.Prefix{}, errors.New("is an IPv4 range in IPv6 form: write it as IPv4")
	case prefix != prefix.Masked():
		return netip.Prefix{}, fmt.Errorf("has bits set beyond its length: did you mean %s?", prefix.Masked())
	}
	return prefix, nil
}

// Check returns nil for an address that may be dialled, or an
// [*AddressForbiddenError].
//
// An IPv4-mapped address (::ffff:0:0/96) is the IPv4 address in it. The other
// forms that carry an IPv4 address go through a translator that belongs to
// somebody else, so the address inside must be public, whatever Allow says of
// it; Allow can name the outer one.
func (p AddressPolicy) Check(ip netip.Addr) error {
	switch {
	case !ip.IsValid():
		return &AddressForbiddenError{Reason: "there is no address"}
	case ip.Zone() != "":
		return &AddressForbiddenError{Addr: ip, Reason: "it has a zone, so it is local to one network"}
	}
	reason := forbiddenReason(ip.Unmap())
	if reason == "" || p.allows(ip.Unmap()) {
		return nil
	}
	return &AddressForbiddenError{Addr: ip, Reason: reason}
}

func (p AddressPolicy) allows(ip netip.Addr) bool {
	metadata := isMetadata(ip)
	return slices.ContainsFunc(p.Allow, func(prefix netip.Prefix) bool {
		return prefix.Contains(ip) && (!metadata || prefix.IsSingleIP())
	})
}

// Control is for net.Dialer.ControlContext. It refuses everything but TCP to an
// address that [AddressPolicy.Check] accepts, before the first packet leaves.
func (p AddressPolicy) Control(_ context.Context, network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return &AddressForbiddenError{Reason: fmt.Sprintf("network %q is not TCP", network)}
	}
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return &AddressForbiddenError{Reason: fmt.Sprintf("%q is not an address with a port", address)}
	}
	return p.Check(target.Addr())
}
