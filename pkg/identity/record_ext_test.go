package identity_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/seal"
)

func TestRecordsAreStoredWhole(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	ca := newAuthority(t, "main", vault, now)
	fromAuthority := created(t, "a", ca, vault, now)
	pending, err := identity.Request("b", profile(), vault, now)
	require.NoError(t, err)
	_, issuing := receiversCA(t, now)
	installed, err := pending.Install(answer(t, issuing, pending.RequestPEM(), nil), vault, now)
	require.NoError(t, err)
	both, err := installed.RequestSuccessor(vault, now)
	require.NoError(t, err)
	retired, err := both.Retire(now)
	require.NoError(t, err)
	withdrawn, err := pending.Retire(now)
	require.NoError(t, err)
	for _, r := range []identity.Record{fromAuthority, pending, installed, both, retired, withdrawn} {
		value := encoded(t, r)
		assert.NotContains(t, string(value), "\n", "one line")
		again, err := identity.DecodeRecord(r.Key(), value)
		require.NoError(t, err)
		assert.Equal(t, string(value), string(encoded(t, again)))
		assert.Equal(t, r.String(), again.String())
		assert.Equal(t, r.RequestPEM(), again.RequestPEM())
	}
	for _, state := range identity.AuthorityStates() {
		a, err := ca.Become(state, now)
		require.NoError(t, err)
		again, err := identity.DecodeAuthority(a.Key(), encoded(t, a))
		require.NoError(t, err)
		assert.Equal(t, string(encoded(t, a)), string(encoded(t, again)))
		assert.Equal(t, a.String(), again.String())
	}
}

func TestDecodeRecordRefuses(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	ca := newAuthority(t, "main", vault, now)
	good := encoded(t, created(t, "default", ca, vault, now))
	change := func(field string, value any) []byte {
		var m map[string]any
		require.NoError(t, json.Unmarshal(good, &m))
		if value == nil {
			delete(m, field)
		} else {
			m[field] = value
		}
		out, err := json.Marshal(m)
		require.NoError(t, err)
		return out
	}
	for title, tc := range map[string]struct {
		key   string
		value []byte
		want  []string
	}{
		"another place":   {"identity.other", good, []string{`holds the record of "default"`}},
		"an authority's":  {"authority.default", good, []string{`does not begin with "identity."`}},
		"no name":         {"identity.", good, []string{`"" is not a name`}},
		"newer":           {"identity.default", change("v", 2), []string{"version 2", "newer program"}},
		"unknown field":   {"identity.default", change("colour", "red"), []string{"colour"}},
		"unknown origin":  {"identity.default", change("origin", "found"), []string{`"found" is not one of: authority, imported, requested`}},
		"unknown state":   {"identity.default", change("state", "lost"), []string{`"lost" is not one of: pending, active, retired`}},
		"no state":        {"identity.default", change("state", nil), []string{"not a state"}},
		"no key":          {"identity.default", change("key", nil), []string{"an active identity has"}},
		"no chain":        {"identity.default", change("chain", nil), []string{"an active identity has"}},
		"retired, key":    {"identity.default", change("state", "retired"), []string{"no key any more"}},
		"pending, chain":  {"identity.default", change("state", "pending"), []string{"a pending identity has"}},
		"bad chain":       {"identity.default", change("chain", "x"), []string{"not a list of certificates"}},
		"bad request":     {"identity.default", change("request", "x"), []string{"signing request is not PEM", "needs its key"}},
		"no authority":    {"identity.default", change("authority", nil), []string{"names an authority if"}},
		"several":         {"identity.other", change("created", nil), []string{"holds the record", "when it was created"}},
		"something after": {"identity.default", append(bytes.Clone(good), "{}"...), []string{"something follows"}},
		"huge":            {"identity.default", bytes.Repeat([]byte(" "), 1<<20), []string{"at most"}},
		"nothing":         {"identity.default", nil, []string{"not a record"}},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			r, err := identity.DecodeRecord(tc.key, tc.value)
			for _, want := range tc.want {
				require.ErrorContains(t, err, want)
			}
			assert.Equal(t, identity.Record{}, r)
		})
	}
	_, err := identity.Record{}.Encode()
	require.Error(t, err, "the zero record is none")
	_, err = identity.Authority{}.Encode()
	require.Error(t, err)
}

// A sealed key opens in its own entry only.
func TestEntriesCannotBeSwapped(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	ca := newAuthority(t, "main", vault, now)
	good := encoded(t, created(t, "a", ca, vault, now))
	swapped := bytes.Replace(good, []byte(`"name":"a"`), []byte(`"name":"b"`), 1)
	r, err := identity.DecodeRecord("identity.b", swapped)
	require.NoError(t, err, "all that can be seen from outside is right")
	_, err = r.Open(vault, now)
	require.ErrorIs(t, err, seal.ErrCorrupt)

	swapped = bytes.Replace(encoded(t, ca), []byte(`"name":"main"`), []byte(`"name":"other"`), 1)
	a, err := identity.DecodeAuthority("authority.other", swapped)
	require.NoError(t, err)
	_, err = a.Open(vault, now)
	require.ErrorIs(t, err, seal.ErrCorrupt)

	// Nor does an authority open with another root beside its key.
	other := newAuthority(t, "main", vault, now)
	mixed, err := identity.DecodeAuthority("authority.main", bytes.Replace(encoded(t, ca), jsonText(t, ca.CertificatePEM()), jsonText(t, other.CertificatePEM()), 1))
	require.NoError(t, err)
	_, err = mixed.Open(vault, now)
	require.ErrorIs(t, err, seal.ErrCorrupt)
}

func jsonText(t *testing.T, text string) []byte {
	t.Helper()
	out, err := json.Marshal(text)
	require.NoError(t, err)
	return out
}

func TestRetireDestroysTheKey(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	r := created(t, "default", newAuthority(t, "main", vault, now), vault, now)
	retired, err := r.Retire(now)
	require.NoError(t, err)
	_, err = retired.Open(vault, now)
	require.ErrorIs(t, err, mtls.ErrNoIdentity)
	require.ErrorContains(t, err, "was retired on")
	assert.Equal(t, r.Fingerprint(), retired.Fingerprint(), "what it was can still be read")
	assert.NotContains(t, string(encoded(t, retired)), "ciphertext")
	_, err = retired.Retire(now)
	require.ErrorContains(t, err, "already")
	_, err = r.Retire(now)
	require.NoError(t, err, "a record is a value: the one before is untouched")
}

func TestReseal(t *testing.T) {
	t.Parallel()
	old, now := newVault(t), time.Now()
	ca := newAuthority(t, "main", old, now)
	r, err := identity.Request("b", profile(), old, now)
	require.NoError(t, err)
	_, issuing := receiversCA(t, now)
	r, err = r.Install(answer(t, issuing, r.RequestPEM(), nil), old, now)
	require.NoError(t, err)
	r, err = r.RequestSuccessor(old, now)
	require.NoError(t, err)
	current := newVault(t)
	both := seal.Vault{Current: current.Current, Previous: []seal.MasterKey{old.Current}}

	resealed, changed, err := r.Reseal(both)
	require.NoError(t, err)
	assert.True(t, changed)
	_, err = resealed.Open(current, now)
	require.NoError(t, err)
	_, err = resealed.Install(answer(t, issuing, resealed.RequestPEM(), nil), current, now)
	require.NoError(t, err, "the key that waits, too")
	_, changed, err = resealed.Reseal(both)
	require.NoError(t, err)
	assert.False(t, changed)
	a, changed, err := ca.Reseal(both)
	require.NoError(t, err)
	assert.True(t, changed)
	_, err = a.Open(current, now)
	require.NoError(t, err)
	_, _, err = r.Reseal(current)
	require.ErrorIs(t, err, seal.ErrWrongMasterKey)
}

func TestNothingPrintsAKey(t *testing.T) {
	t.Parallel()
	vault, now := newVault(t), time.Now()
	a := newAuthority(t, "main", vault, now)
	r := created(t, "default", a, vault, now)
	secrets := make([]string, 0, 8)
	for _, value := range [][]byte{encoded(t, r), encoded(t, a)} {
		var stored struct {
			Key struct {
				Ciphertext string `json:"ciphertext"`
			} `json:"key"`
		}
		require.NoError(t, json.Unmarshal(value, &stored))
		sealed := stored.Key.Ciphertext
		require.NotEmpty(t, sealed)
		secrets = append(secrets, sealed[:16], strings.Trim(fmt.Sprintf("%d", []byte(sealed[:8])), "[]"), fmt.Sprintf("%x", sealed[:8]))
	}
	type hidden struct {
		record    identity.Record
		authority identity.Authority
	}
	for _, value := range []any{r, &r, []identity.Record{r}, a, &a, hidden{r, a}, &hidden{r, a}, struct{ R identity.Record }{r}} {
		shown := make([]string, 0, 10)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			shown = append(shown, fmt.Sprintf(verb, value))
		}
		text, err := json.Marshal(value)
		require.NoError(t, err)
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", slog.Any("value", value))
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", slog.Any("value", value))
		for _, s := range append(shown, string(text), log.String()) {
			for _, secret := range secrets {
				assert.NotContains(t, s, secret, "%T", value)
			}
		}
	}
	assert.Contains(t, r.String(), r.Fingerprint())
	text, err := json.Marshal(r)
	require.NoError(t, err)
	assert.Contains(t, string(text), `"renew_at"`)
	require.Error(t, json.Unmarshal(text, &r))
	text, err = json.Marshal(a)
	require.NoError(t, err)
	require.Error(t, json.Unmarshal(text, &a))
}
