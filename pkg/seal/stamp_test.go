package seal_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/seal"
)

func vault(tb testing.TB) seal.Vault {
	tb.Helper()
	key, err := seal.GenerateMasterKey(rand.Reader)
	require.NoError(tb, err)
	return seal.Vault{Current: key}
}

func TestAStampHoldsForExactlyWhatWasStamped(t *testing.T) {
	t.Parallel()
	v := vault(t)
	parts := func(s ...string) [][]byte {
		var all [][]byte
		for _, one := range s {
			all = append(all, []byte(one))
		}
		return all
	}
	stamp, err := v.Stamp("payload", parts("msg_1", "application/json", "{}")...)
	require.NoError(t, err)
	require.NoError(t, v.CheckStamp(stamp, "payload", parts("msg_1", "application/json", "{}")...))
	for name, at := range map[string]struct {
		purpose string
		parts   [][]byte
	}{
		"another purpose":        {"Payload", parts("msg_1", "application/json", "{}")},
		"another id":             {"payload", parts("msg_2", "application/json", "{}")},
		"another body":           {"payload", parts("msg_1", "application/json", "{ }")},
		"parts cut elsewhere":    {"payload", parts("msg_1a", "pplication/json", "{}")},
		"another order":          {"payload", parts("application/json", "msg_1", "{}")},
		"one part less":          {"payload", parts("msg_1", "application/json")},
		"an empty part more":     {"payload", parts("msg_1", "application/json", "{}", "")},
		"purpose taken as parts": {"", parts("payload", "msg_1", "application/json", "{}")},
	} {
		require.ErrorIs(t, v.CheckStamp(stamp, at.purpose, at.parts...), seal.ErrCorrupt, name)
	}
	for _, forged := range []string{"", ".", stamp[:len(stamp)-1], stamp + "A", strings.Replace(stamp, ".", "", 1), stamp[:17], "0" + stamp, stamp + "="} {
		require.ErrorIs(t, v.CheckStamp(forged, "payload", parts("msg_1", "application/json", "{}")...), seal.ErrCorrupt, forged)
	}
}

func TestAStampOutlivesItsMasterKeyAmongThePreviousOnes(t *testing.T) {
	t.Parallel()
	before, after := vault(t), vault(t)
	stamp, err := before.Stamp("payload", []byte("x"))
	require.NoError(t, err)
	require.ErrorIs(t, after.CheckStamp(stamp, "payload", []byte("x")), seal.ErrWrongMasterKey)
	after.Previous = []seal.MasterKey{before.Current}
	require.NoError(t, after.CheckStamp(stamp, "payload", []byte("x")))
	require.ErrorIs(t, after.CheckStamp(stamp, "payload", []byte("y")), seal.ErrCorrupt)

	_, err = seal.Vault{}.Stamp("payload", []byte("x"))
	require.ErrorIs(t, err, seal.ErrInvalidMasterKey)
	require.ErrorIs(t, seal.Vault{}.CheckStamp(stamp, "payload", []byte("x")), seal.ErrWrongMasterKey)
}

// A stamp must not be usable to learn what seals: it is made under a key of its own.
func TestStampsDifferFromTheIDOfTheirKey(t *testing.T) {
	t.Parallel()
	v := vault(t)
	stamp, err := v.Stamp("handfast master key id")
	require.NoError(t, err)
	id, mac, _ := strings.Cut(stamp, ".")
	assert.Equal(t, v.Current.ID(), id)
	assert.Len(t, mac, 43)
	assert.NotContains(t, stamp, v.Current.Reveal())
}

func FuzzCheckStamp(f *testing.F) {
	v := vault(f)
	stamp, err := v.Stamp("payload", []byte("x"))
	require.NoError(f, err)
	for _, seed := range []string{stamp, "", ".", v.Current.ID() + ".", strings.ToUpper(stamp)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if (v.CheckStamp(text, "payload", []byte("x")) == nil) != (text == stamp) {
			t.Fatalf("%q", text)
		}
	})
}

func BenchmarkStamp(b *testing.B) {
	v := vault(b)
	body := make([]byte, 1024)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = v.Stamp("payload", []byte("msg_pnmqmvn4oqbp4ykzehcibkyk5fykzn5c"), []byte("application/json"), body)
	}
}
