package mtls_test

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
)

func mustAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestAddressPolicyCheck(t *testing.T) {
	t.Parallel()
	const public = ""
	for _, tc := range []struct{ address, want string }{
		{"1.1.1.1", public},
		{"8.8.8.8", public},
		{"9.255.255.255", public},
		{"11.0.0.0", public},
		{"100.63.255.255", public},
		{"100.128.0.0", public},
		{"126.255.255.255", public},
		{"128.0.0.1", public},
		{"169.253.255.255", public},
		{"172.15.255.255", public},
		{"172.32.0.0", public},
		{"192.0.1.0", public},
		{"192.167.255.255", public},
		{"192.169.0.0", public},
		{"198.17.255.255", public},
		{"198.20.0.0", public},
		{"223.255.255.255", public},
		{"2606:4700:4700::1111", public},
		{"2001:4860:4860::8888", public},
		{"2001:200::1", public}, // just above 2001::/23
		{"2a00:1450:4001:80b::200e", public},
		{"::ffff:8.8.8.8", public},
		{"64:ff9b::8.8.8.8", public},
		{"2002:808:808::1", public},

		{"0.0.0.0", "unspecified"},
		{"0.1.2.3", "this network"},
		{"10.0.0.0", "private"},
		{"10.255.255.255", "private"},
		{"100.64.0.1", "carrier"},
		{"100.127.255.255", "carrier"},
		{"100.100.100.200", "metadata"},
		{"127.0.0.1", "loopback"},
		{"127.255.255.254", "loopback"},
		{"168.63.129.16", "metadata"},
		{"169.254.0.1", "link-local"},
		{"169.254.169.254", "metadata"},
		{"169.254.170.2", "metadata"},
		{"169.254.170.23", "metadata"},
		{"172.16.0.1", "private"},
		{"172.31.255.255", "private"},
		{"192.0.0.8", "reserved for protocols"},
		{"192.0.0.192", "metadata"},
		{"192.0.2.1", "documentation"},
		{"192.88.99.1", "6to4"},
		{"192.168.1.1", "private"},
		{"198.18.0.1", "benchmarking"},
		{"198.19.255.255", "benchmarking"},
		{"198.51.100.1", "documentation"},
		{"203.0.113.1", "documentation"},
		{"224.0.0.1", "multicast"},
		{"239.255.255.255", "multicast"},
		{"240.0.0.1", "it is reserved"},
		{"255.255.255.254", "it is reserved"},
		{"255.255.255.255", "broadcast"},

		{"::", "unspecified"},
		{"::1", "loopback"},
		{"::7f00:1", "IPv4-compatible"},
		{"::ffff:127.0.0.1", "loopback"},
		{"::ffff:10.1.2.3", "private"},
		{"::ffff:169.254.169.254", "metadata"},
		{"::ffff:0:127.0.0.1", "not a public address"}, // IPv4-translated, RFC 2765
		{"64:ff9b::7f00:1", "through NAT64 to 127.0.0.1, and of that: it is a loopback"},
		{"64:ff9b::a9fe:a9fe", "metadata"},
		{"64:ff9b::10.0.0.1", "private"},
		{"64:ff9b:1::8.8.8.8", "NAT64 within one network"},
		{"64:ff9b:0:1::1", "not a public address"},
		{"2002:7f00:1::", "through 6to4 to 127.0.0.1"},
		{"2002:a00:1::1", "private"},
		{"2002:a9fe:a9fe::", "metadata"},
		{"2001:0:7f00:1::", "Teredo"},
		{"2001:0:808:808::f7f7:f7f7", "Teredo"},
		{"2001:2::1", "benchmarking"},
		{"2001:10::1", "reserved for protocols"},
		{"2001:db8::1", "documentation"},
		{"3fff::1", "documentation"},
		{"100::1", "discarding"},
		{"5f00::1", "segment routing"},
		{"fc00::1", "unique local"},
		{"fd12:3456::1", "unique local"},
		{"fd00:ec2::254", "metadata"},
		{"fd00:ec2::23", "metadata"},
		{"fd20:ce::254", "metadata"},
		{"fe80::1", "link-local"},
		{"fe80::1%eth0", "zone"},
		{"2606:4700:4700::1111%eth0", "zone"},
		{"fec0::1", "site-local"},
		{"ff02::1", "multicast"},
		{"4000::1", "not a public address"},
		{"1::1", "not a public address"},
	} {
		err := mtls.AddressPolicy{}.Check(mustAddr(tc.address))
		if tc.want == public {
			require.NoError(t, err, tc.address)
			continue
		}
		var forbidden *mtls.AddressForbiddenError
		if assert.ErrorAs(t, err, &forbidden, tc.address) {
			assert.Contains(t, forbidden.Reason, tc.want, tc.address)
			assert.Equal(t, mustAddr(tc.address), forbidden.Addr)
			assert.ErrorContains(t, err, "address "+mustAddr(tc.address).String()+" is forbidden")
		}
	}
	assert.ErrorContains(t, mtls.AddressPolicy{}.Check(netip.Addr{}), "there is no address")
}

func TestAddressPolicyAllow(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		allow   []string
		address string
		ok      bool
	}{
		{[]string{"10.20.0.0/16"}, "10.20.255.255", true},
		{[]string{"10.20.0.0/16"}, "10.21.0.0", false},
		{[]string{"10.20.0.0/16"}, "::ffff:10.20.0.1", true},
		{[]string{"10.20.0.0/16"}, "64:ff9b::10.20.0.1", false},
		{[]string{"10.20.0.0/16"}, "2002:a14:1::", false},
		{[]string{"64:ff9b::10.20.0.0/112"}, "64:ff9b::10.20.0.1", true},
		{[]string{"127.0.0.1"}, "127.0.0.1", true},
		{[]string{"127.0.0.1"}, "127.0.0.2", false},
		{[]string{"::1"}, "::1", true},
		{[]string{"::1"}, "127.0.0.1", false},
		{[]string{"fd00::/8"}, "fd12::1", true},
		{[]string{"fe80::/10"}, "fe80::1", true},
		{[]string{"fe80::/10"}, "fe80::1%eth0", false},
		{[]string{"0.0.0.0/0", "::/0"}, "192.168.0.1", true},
		{[]string{"0.0.0.0/0", "::/0"}, "169.254.169.254", false},
		{[]string{"0.0.0.0/0", "::/0"}, "::ffff:169.254.169.254", false},
		{[]string{"169.254.0.0/16"}, "169.254.169.254", false},
		{[]string{"fd00:ec2::/64"}, "fd00:ec2::254", false},
		{[]string{"169.254.169.254/32"}, "169.254.169.254", true},
		{[]string{"fd00:ec2::254"}, "fd00:ec2::254", true},
		{[]string{"10.0.0.0/8"}, "8.8.8.8", true},
	} {
		policy, err := mtls.ParseAddressPolicy(tc.allow)
		require.NoError(t, err)
		err = policy.Check(mustAddr(tc.address))
		assert.Equal(t, tc.ok, err == nil, "%v %s: %v", tc.allow, tc.address, err)
	}
}

func TestParseAddressPolicy(t *testing.T) {
	t.Parallel()
	policy, err := mtls.ParseAddressPolicy([]string{"10.0.0.0/8", "192.168.1.1", "10.0.0.0/8", "fd00::/8"})
	require.NoError(t, err)
	assert.Equal(t, []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.168.1.1/32"), netip.MustParsePrefix("fd00::/8"),
	}, policy.Allow)
	none, err := mtls.ParseAddressPolicy(nil)
	require.NoError(t, err)
	assert.Empty(t, none.Allow)

	bad := map[string]string{
		"":                    "neither an address",
		"office":              "neither an address",
		"10.0.0.0/33":         "is not a prefix",
		"10.1.2.3/8":          "did you mean 10.0.0.0/8",
		"::ffff:10.0.0.0/104": "write it as IPv4",
		"::ffff:10.0.0.1":     "write it as IPv4",
		"fe80::1%eth0":        "zone",
	}
	list := make([]string, 0, len(bad))
	for cidr := range bad {
		list = append(list, cidr)
	}
	_, err = mtls.ParseAddressPolicy(append(list, "10.0.0.0/8"))
	for cidr, want := range bad {
		require.ErrorContains(t, err, want, cidr)
	}
	assert.Equal(t, len(bad), strings.Count(err.Error(), "allowed range"), "one line for each, and none for the good one")
}

func TestAddressPolicyControl(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ network, address, want string }{
		{"tcp4", "8.8.8.8:443", ""},
		{"tcp6", "[2606:4700:4700::1111]:443", ""},
		{"tcp4", "127.0.0.1:443", "loopback"},
		{"tcp6", "[fe80::1%eth0]:443", "zone"},
		{"udp4", "8.8.8.8:443", "not TCP"},
		{"tcp", "8.8.8.8:443", "not TCP"},
		{"unix", "/run/socket", "not TCP"},
		{"tcp4", "8.8.8.8", "not an address with a port"},
		{"tcp4", "receiver.example:443", "not an address with a port"},
	} {
		err := mtls.AddressPolicy{}.Control(context.Background(), tc.network, tc.address, nil)
		if tc.want == "" {
			require.NoError(t, err, tc.address)
			continue
		}
		var forbidden *mtls.AddressForbiddenError
		require.ErrorAs(t, err, &forbidden, tc.address)
		assert.ErrorContains(t, err, tc.want)
	}
}

func TestAddressPolicyGuardsADialer(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	dial := func(policy mtls.AddressPolicy) error {
		dialer := net.Dialer{ControlContext: policy.Control, Timeout: 10 * time.Second}
		conn, err := dialer.DialContext(t.Context(), "tcp", listener.Addr().String())
		if err == nil {
			err = conn.Close()
		}
		return err
	}
	var forbidden *mtls.AddressForbiddenError
	require.ErrorAs(t, dial(mtls.AddressPolicy{}), &forbidden, "net.OpError keeps the type visible")
	require.NoError(t, dial(mtls.AddressPolicy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}))
}

func FuzzParseAddressPolicy(f *testing.F) {
	for _, seed := range []string{"10.0.0.0/8", "::1", "fd00::/8,10.1.2.3", "10.1.2.3/8", "fe80::1%eth0", "::ffff:1.2.3.4/100", ","} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		policy, err := mtls.ParseAddressPolicy(strings.Split(list, ","))
		if err != nil {
			if policy.Allow != nil {
				t.Fatal("an error must come with a policy that allows nothing more")
			}
			return
		}
		texts := make([]string, 0, len(policy.Allow))
		for _, prefix := range policy.Allow {
			texts = append(texts, prefix.String())
			if err := policy.Check(prefix.Addr()); err != nil && !strings.Contains(err.Error(), "metadata") {
				t.Fatalf("%s is allowed and yet: %v", prefix, err)
			}
		}
		again, err := mtls.ParseAddressPolicy(texts)
		if err != nil || !slices.Equal(again.Allow, policy.Allow) {
			t.Fatalf("%v read again is %v, %v", policy.Allow, again.Allow, err)
		}
	})
}
