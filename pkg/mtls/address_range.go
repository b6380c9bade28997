package mtls

import (
	"fmt"
	"net/netip"
	"slices"
)

type addressRange struct {
	prefix netip.Prefix
	reason string
}

const (
	reasonDocumentation = "it is reserved for documentation"
	reasonBenchmarking  = "it is reserved for benchmarking"
	reasonPrivate       = "it is a private address"
	reasonLinkLocal     = "it is a link-local address"
	reasonLoopback      = "it is a loopback address"
	reasonMulticast     = "it is a multicast address"
	reasonReserved      = "it is reserved for protocols"
	reasonMetadata      = "it is the metadata service of a cloud, which hands out credentials"
)

// metadataAddresses stand alone, because two of them look public and the others
// lie in ranges that are allowed often. Sources are the clouds' own manuals.
var metadataAddresses = []netip.Addr{
	netip.MustParseAddr("169.254.169.254"), // AWS, Google, Azure, Oracle and most others
	netip.MustParseAddr("169.254.170.2"),   // AWS, credentials of ECS tasks
	netip.MustParseAddr("169.254.170.23"),  // AWS, credentials of EKS pods
	netip.MustParseAddr("100.100.100.200"), // Alibaba
	netip.MustParseAddr("192.0.0.192"),     // Oracle, classic
	netip.MustParseAddr("168.63.129.16"),   // Azure, host agent; in a public range
	netip.MustParseAddr("fd00:ec2::254"),   // AWS
	netip.MustParseAddr("fd00:ec2::23"),    // AWS, credentials of EKS pods
	netip.MustParseAddr("fd20:ce::254"),    // Google
}

// forbiddenIPv4 is IANA's IPv4 Special-Purpose Address Registry, as far as it is
// not globally reachable, with multicast (RFC 5771). The narrower range stands
// first where two overlap.
var forbiddenIPv4 = []addressRange{
	{netip.MustParsePrefix("0.0.0.0/32"), "it is the unspecified address, which leads to this machine"},
	{netip.MustParsePrefix("0.0.0.0/8"), "it means this network (RFC 791)"},
	{netip.MustParsePrefix("10.0.0.0/8"), reasonPrivate},
	{netip.MustParsePrefix("100.64.0.0/10"), "it is shared behind a carrier's NAT (RFC 6598)"},
	{netip.MustParsePrefix("127.0.0.0/8"), reasonLoopback},
	{netip.MustParsePrefix("169.254.0.0/16"), reasonLinkLocal},
	{netip.MustParsePrefix("172.16.0.0/12"), reasonPrivate},
	{netip.MustParsePrefix("192.0.0.0/24"), reasonReserved},
	{netip.MustParsePrefix("192.0.2.0/24"), reasonDocumentation},
	{netip.MustParsePrefix("192.88.99.0/24"), "it was the anycast address of 6to4 relays (RFC 7526)"},
	{netip.MustParsePrefix("192.168.0.0/16"), reasonPrivate},
	{netip.MustParsePrefix("198.18.0.0/15"), reasonBenchmarking},
	{netip.MustParsePrefix("198.51.100.0/24"), reasonDocumentation},
	{netip.MustParsePrefix("203.0.113.0/24"), reasonDocumentation},
	{netip.MustParsePrefix("224.0.0.0/4"), reasonMulticast},
	{netip.MustParsePrefix("255.255.255.255/32"), "it is the broadcast address"},
	{netip.MustParsePrefix("240.0.0.0/4"), "it is reserved (RFC 1112)"},
}

// forbiddenIPv6 names what is worth naming. Whatever is left must lie in
// globalUnicast, the only part of IPv6 that is assigned to the public.
var forbiddenIPv6 = []addressRange{
	{netip.MustParsePrefix("::/128"), "it is the unspecified address, which leads to this machine"},
	{netip.MustParsePrefix("::1/128"), reasonLoopback},
	{netip.MustParsePrefix("::/96"), "it is an IPv4-compatible address, which nobody uses any more (RFC 4291)"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "it is for NAT64 within one network (RFC 8215)"},
	{netip.MustParsePrefix("100::/64"), "it is for discarding (RFC 6666)"},
	{netip.MustParsePrefix("2001::/32"), "it is a Teredo tunnel (RFC 4380)"},
	{netip.MustParsePrefix("2001:2::/48"), reasonBenchmarking},
	{netip.MustParsePrefix("2001:db8::/32"), reasonDocumentation},
	{netip.MustParsePrefix("2001::/23"), reasonReserved},
	{netip.MustParsePrefix("3fff::/20"), reasonDocumentation},
	{netip.MustParsePrefix("5f00::/16"), "it is a segment routing identifier (RFC 9602)"},
	{netip.MustParsePrefix("fc00::/7"), "it is a unique local address"},
	{netip.MustParsePrefix("fe80::/10"), reasonLinkLocal},
	{netip.MustParsePrefix("fec0::/10"), "it is a site-local address"},
	{netip.MustParsePrefix("ff00::/8"), reasonMulticast},
}

var (
	globalUnicast = netip.MustParsePrefix("2000::/3")     // RFC 4291 section 2.4
	nat64         = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	sixToFour     = netip.MustParsePrefix("2002::/16")    // RFC 3056
)

// forbiddenReason is empty for a public address.
func forbiddenReason(ip netip.Addr) string {
	if isMetadata(ip) {
		return reasonMetadata
	}
	ranges := forbiddenIPv6
	if ip.Is4() {
		ranges = forbiddenIPv4
	}
	for _, r := range ranges {
		if r.prefix.Contains(ip) {
			return r.reason
		}
	}
	if ip.Is4() {
		return ""
	}
	if inner, form := embeddedIPv4(ip); form != "" {
		if reason := forbiddenReason(inner); reason != "" {
			return fmt.Sprintf("it leads through %s to %s, and of that: %s", form, inner, reason)
		}
		return ""
	}
	if !globalUnicast.Contains(ip) {
		return "it is not a public address"
	}
	return ""
}

func isMetadata(ip netip.Addr) bool {
	return slices.Contains(metadataAddresses, ip)
}

// embeddedIPv4 finds the IPv4 address that a translator would send to; form is
// empty when there is none.
func embeddedIPv4(ip netip.Addr) (inner netip.Addr, form string) {
	b := ip.As16()
	switch {
	case nat64.Contains(ip):
		return netip.AddrFrom4([4]byte(b[12:16])), "NAT64"
	case sixToFour.Contains(ip):
		return netip.AddrFrom4([4]byte(b[2:6])), "6to4"
	default:
		return netip.Addr{}, ""
	}
}
