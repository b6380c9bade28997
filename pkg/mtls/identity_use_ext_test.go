package mtls_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
)

func TestGenerationFollowsTheChain(t *testing.T) {
	t.Parallel()
	root := newTestAuthority(t, "root")
	intermediate, err := root.Intermediate("intermediate")
	require.NoError(t, err)
	p := clientPair(t, intermediate, "client")
	whole := p.identity(t, "acme")
	short := pair{toPEM(certificates(t, p.certificate)[0]), p.key}.identity(t, "acme")
	assert.Equal(t, whole.Fingerprint(), short.Fingerprint())
	assert.NotEqual(t, whole.Generation(), short.Generation())
	assert.Equal(t, whole.Generation(), p.identity(t, "renamed").Generation())
}

func TestIdentityIsImmutable(t *testing.T) {
	t.Parallel()
	i := clientPair(t, newTestAuthority(t, "root"), "client").identity(t, "acme")
	c := i.Certificate()
	c.Certificate[0] = nil
	assert.NotNil(t, i.Certificate().Certificate[0])
}

func TestIdentityCheckTime(t *testing.T) {
	t.Parallel()
	i := clientPair(t, newTestAuthority(t, "root"), "client").identity(t, "acme")
	leaf := i.Leaf()
	for _, good := range []time.Time{leaf.NotBefore, time.Now(), leaf.NotAfter} {
		require.NoError(t, i.CheckTime(good))
	}
	require.ErrorContains(t, i.CheckTime(leaf.NotBefore.Add(-1)), "is not valid before")
	requireIdentityError(t, i.CheckTime(leaf.NotAfter.Add(1)))
}

func TestAccepts(t *testing.T) {
	t.Parallel()
	root, other := newTestAuthority(t, "root"), newTestAuthority(t, "other root")
	intermediate, err := root.Intermediate("intermediate")
	require.NoError(t, err)
	i := clientPair(t, intermediate, "client").identity(t, "acme")
	for name, tc := range map[string]struct {
		cas     [][]byte
		schemes []tls.SignatureScheme
		version uint16
		want    string
	}{
		"no list":             {},
		"nearest CA":          {cas: [][]byte{other.Certificate().RawSubject, intermediate.Certificate().RawSubject}},
		"CA of intermediate":  {cas: [][]byte{root.Certificate().RawSubject}},
		"TLS 1.2":             {version: tls.VersionTLS12},
		"another CA":          {cas: [][]byte{other.Certificate().RawSubject}, want: `accepts only "CN=other root"`},
		"unreadable list":     {cas: [][]byte{{1, 2, 3}}, want: "010203"},
		"no common algorithm": {schemes: []tls.SignatureScheme{tls.Ed25519}, want: "kind of key"},
		"long list":           {cas: bytes.Split(bytes.Repeat([]byte{9}, 130), nil), want: "and 125 more"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			info := &tls.CertificateRequestInfo{AcceptableCAs: tc.cas, SignatureSchemes: tc.schemes, Version: tc.version}
			if info.Version == 0 {
				info.Version = tls.VersionTLS13
			}
			if info.SignatureSchemes == nil {
				info.SignatureSchemes = []tls.SignatureScheme{tls.PSSWithSHA256, tls.ECDSAWithP256AndSHA256}
			}
			err := i.Accepts(info)
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			var refused *mtls.NotAcceptedError
			require.ErrorAs(t, err, &refused)
			assert.Equal(t, "acme", refused.Identity)
			assert.Equal(t, "CN=intermediate", refused.Issuer)
			assert.Len(t, refused.AcceptableCAs, len(tc.cas))
			if tc.schemes != nil {
				require.Error(t, refused.Err)
				require.ErrorIs(t, err, refused.Err)
			}
			assert.ErrorContains(t, err, tc.want)
		})
	}
}

func TestIdentityNeverShowsItsKey(t *testing.T) {
	t.Parallel()
	i := clientPair(t, newTestAuthority(t, "root"), "client").identity(t, "acme")
	key := i.Certificate().PrivateKey.(*ecdsa.PrivateKey)
	scalar, err := key.Bytes()
	require.NoError(t, err)
	shown := make([]string, 0, 16)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		// Copies have no methods.
		shown = append(shown, fmt.Sprintf(verb, i), fmt.Sprintf(verb, *i), fmt.Sprintf(verb, struct{ I mtls.Identity }{*i}))
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", slog.Any("identity", i))
	marshalled, err := json.Marshal(i)
	require.NoError(t, err)
	shown = append(shown, log.String(), string(marshalled))
	secrets := []string{hex.EncodeToString(scalar), fmt.Sprintf("%d", scalar), "PrivateKey", "ecdsa"}
	for _, s := range shown {
		for _, secret := range secrets {
			assert.NotContains(t, strings.ToLower(s), strings.ToLower(secret))
		}
	}
	for _, s := range []string{i.String(), log.String(), string(marshalled)} {
		assert.Contains(t, s, "acme")
		assert.Contains(t, s, i.Fingerprint())
	}
	assert.Equal(t, "identity (none)", (&mtls.Identity{}).String())
	assert.Equal(t, "identity (none)", (&mtls.Identity{}).LogValue().String())
}

func TestStatic(t *testing.T) {
	t.Parallel()
	i := clientPair(t, newTestAuthority(t, "root"), "client").identity(t, "acme")
	got, err := mtls.Static(i).Identity()
	require.NoError(t, err)
	assert.Same(t, i, got)
	_, err = mtls.Static(nil).Identity()
	require.ErrorIs(t, err, mtls.ErrNoIdentity)
}
