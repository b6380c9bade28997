package authority_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls/authority"
)

func TestMarshalAndLoad(t *testing.T) {
	t.Parallel()
	root := newAuthority(t)
	intermediate, err := root.Intermediate("intermediate")
	require.NoError(t, err)
	for _, a := range []*authority.Authority{root, intermediate} {
		text, err := a.Marshal()
		require.NoError(t, err)
		loaded, err := authority.Load(text, authority.WithLeafLifetime(time.Hour))
		require.NoError(t, err)
		assert.Equal(t, a.CertificatePEM(), loaded.CertificatePEM())
		certificatePEM, _, err := loaded.Server("receiver.test")
		require.NoError(t, err)
		chain := parseChain(t, certificatePEM)
		require.NoError(t, verify(root, chain, "receiver.test", time.Now(), x509.ExtKeyUsageServerAuth))
		assert.WithinDuration(t, time.Now().Add(time.Hour), chain[0].NotAfter, time.Minute)
	}
}

func TestLoadTellsEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	root, other := newAuthority(t), newAuthority(t)
	text, err := root.Marshal()
	require.NoError(t, err)
	otherText, err := other.Marshal()
	require.NoError(t, err)
	leaf, leafKey, err := root.Server("receiver.test")
	require.NoError(t, err)
	otherKey := otherText[len(other.CertificatePEM()):]
	broken := func(kind string) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte("x")}) }
	late := authority.WithClock(func() time.Time { return time.Now().AddDate(11, 0, 0) })
	for name, tc := range map[string]struct {
		text    []byte
		options []authority.Option
		want    []string
	}{
		"nothing":     {nil, nil, []string{"holds 0 and 0"}},
		"no key":      {root.CertificatePEM(), nil, []string{"holds 1 and 0"}},
		"two":         {append(bytes.Clone(text), otherText...), nil, []string{"holds 2 and 2"}},
		"other key":   {append(root.CertificatePEM(), otherKey...), nil, []string{"does not belong"}},
		"leaf":        {append(bytes.Clone(leaf), leafKey...), nil, []string{"not a CA"}},
		"expired":     {text, []authority.Option{late}, []string{"expired on"}},
		"broken":      {append(broken("CERTIFICATE"), broken("PRIVATE KEY")...), nil, []string{"cannot be read", "P-256"}},
		"odd block":   {append(broken("X509 CRL"), text...), nil, []string{`"X509 CRL"`}},
		"three wrong": {append(bytes.Clone(leaf), otherKey...), []authority.Option{late}, []string{"not a CA", "expired on", "does not belong"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, err := authority.Load(tc.text, tc.options...)
			assert.Nil(t, a)
			for _, want := range tc.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

func TestAuthorityNeverShowsItsKey(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	text, err := a.Marshal()
	require.NoError(t, err)
	block, _ := pem.Decode(text[len(a.CertificatePEM()):])
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	require.NoError(t, err)
	scalar, err := key.(*ecdsa.PrivateKey).Bytes()
	require.NoError(t, err)
	shown := make([]string, 0, 16)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		shown = append(shown, fmt.Sprintf(verb, a))
		copied := *a
		shown = append(shown, fmt.Sprintf(verb, copied))
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", slog.Any("authority", a))
	marshalled, err := json.Marshal(map[string]any{"a": a})
	require.NoError(t, err)
	for _, s := range append(shown, log.String(), string(marshalled)) {
		for _, secret := range []string{hex.EncodeToString(scalar), new(big.Int).SetBytes(scalar).String(), string(scalar)} {
			assert.NotContains(t, strings.ToLower(s), secret)
		}
	}
	assert.Equal(t, `authority "root"`, a.String())
	assert.Contains(t, log.String(), "root")
	assert.Contains(t, string(marshalled), "root")
	assert.Equal(t, "authority (none)", fmt.Sprint(&authority.Authority{})) //nolint:gocritic // fmt is what is tested
}

func FuzzLoad(f *testing.F) {
	a, err := authority.New("root")
	if err != nil {
		f.Fatal(err)
	}
	text, err := a.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)/2])
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := authority.Load(text)
		if (a == nil) == (err == nil) {
			t.Fatalf("want either an authority or an error, got %v and %v", a, err)
		}
		if err != nil {
			return
		}
		again, err := a.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := authority.Load(again); err != nil {
			t.Fatal(err)
		}
	})
}
