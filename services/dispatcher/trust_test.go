package dispatcher

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/mtls"
)

func registered(tb testing.TB, revision uint64, tls string) endpoint.Registered {
	tb.Helper()
	e, err := endpoint.Parse([]byte("tenant: acme\nname: orders\nurl: https://hooks.example.com/in\ntls: " + tls + "\n"))
	require.NoError(tb, err)
	return endpoint.Registered{Endpoint: e, Revision: revision}
}

func TestTargetsCarryWhatTheDocumentDemands(t *testing.T) {
	d := Dispatcher{}
	for i, tc := range []struct {
		tls        string
		version    mtls.MinVersion
		revocation mtls.RevocationPolicy
	}{
		{tls: "{}"},
		{tls: "{trust: {revocation: off}, min_version: '1.2'}"},
		{tls: "{trust: {revocation: soft}}", revocation: mtls.RevocationSoft},
		{tls: "{trust: {revocation: hard}, min_version: '1.3'}", revocation: mtls.RevocationHard, version: mtls.TLS13},
	} {
		to := registered(t, uint64(i+1), tc.tls)
		for range 2 { // compiled, then remembered
			target, failure := d.aim(to, mtls.Static(nil))
			require.Nil(t, failure)
			assert.Equal(t, tc.version, target.MinVersion, tc.tls)
			assert.Equal(t, tc.revocation, target.Trust.Revocation(), tc.tls)
		}
	}
}

// TestPoliciesHaveOneName keeps the bridge between the two closed lists straight, and closed on the strict side.
func TestPoliciesHaveOneName(t *testing.T) {
	for asked := endpoint.RevocationOff; asked <= endpoint.RevocationHard; asked++ {
		assert.Equal(t, asked.String(), revocation(asked).String())
	}
	assert.Equal(t, mtls.RevocationHard, revocation(endpoint.RevocationHard+1))
	assert.Equal(t, mtls.TLS13, minVersion(endpoint.TLS13+1))
}
