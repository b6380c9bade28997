package doctor_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/doctor"
)

func TestTargetsThatCannotBeTried(t *testing.T) {
	_, err := doctor.Examine(t.Context(), doctor.Target{}, doctor.Options{})
	require.ErrorContains(t, err, "no URL")
	u, err := url.Parse("http://user@/x")
	require.NoError(t, err)
	_, err = doctor.Examine(t.Context(), doctor.Target{URL: u}, doctor.Options{})
	for _, want := range []string{`scheme "http"`, "names no host", "user name"} {
		require.ErrorContains(t, err, want)
	}
}

func TestExaminationStopsWithItsContext(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	target := w.speak(func(conn net.Conn) {
		if n, _ := conn.Read(make([]byte, 1)); n > 0 {
			cancel()
		}
		io.Copy(io.Discard, conn)
	})
	_, err := doctor.Examine(ctx, target, doctor.Options{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestIdentityNeverShowsItsKey(t *testing.T) {
	w := newWorld(t)
	certificatePEM, keyPEM, err := w.ours.Client(us)
	require.NoError(t, err)
	block := strings.Split(string(keyPEM), "\n")[1]
	for _, i := range []doctor.Identity{doctor.ReadIdentity("default", certificatePEM, keyPEM, time.Now()), doctor.ReadIdentity("late", certificatePEM, keyPEM, time.Now().AddDate(20, 0, 0))} {
		json, err := i.MarshalJSON()
		require.NoError(t, err)
		for _, shown := range []string{fmt.Sprintf("%+v %#v %s %d %v", i, i, i, i, &i), string(json), i.LogValue().String(), fmt.Sprintf("%+v", struct{ I doctor.Identity }{i})} {
			assert.NotContains(t, shown, block)
			assert.NotContains(t, shown, "PrivateKey")
			assert.Contains(t, shown, us)
		}
	}
	assert.Equal(t, "no identity", doctor.Identity{}.String())
}
