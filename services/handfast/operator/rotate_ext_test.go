package operator_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/rotation"
	"github.com/handfast/handfast/pkg/seal"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/services/handfast/local"
	"github.com/handfast/handfast/services/handfast/operator"
)

func TestStartRotationTellsEverythingAndChangesNothing(t *testing.T) {
	s := newShelf(t)
	s.create(t, "default")
	_, _, err := s.Request(t.Context(), "waits", profile(), false, s.vault)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		name, next, by string
		external       bool
		vault          seal.Vault
		want           []string
	}{
		"nobody names it": {"absent", "absent", "mira", false, s.vault, []string{
			`no endpoint names identity "absent", and none is stored under it`, `no identity "absent" is stored; there is default, waits; for one that every dispatcher is given`,
			`identity "absent" presents "absent" already`,
		}},
		"itself":       {"default", "default", "mira", false, s.vault, []string{`identity "default" presents "default" already`}},
		"pending":      {"default", "waits", "mira", false, s.vault, []string{"`handfast identity install waits` takes the certificate"}},
		"another key":  {"waits", "default", "mira", false, newVault(t), []string{"give the key that the dispatchers use"}},
		"nobody":       {"waits", "default", " ", false, s.vault, []string{"by must name a person"}},
		"no such name": {"default", "No", "mira", true, s.vault, []string{`"No" is not the name of an identity`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.StartRotation(t.Context(), c.name, c.next, c.by, c.external, c.vault)
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
			all, err := s.Rotations(t.Context())
			require.NoError(t, err)
			assert.Empty(t, all)
		})
	}
	// Dispatchers may have it in files; then the probes tell whether they do.
	started, err := s.StartRotation(t.Context(), "default", "in-a-token", "mira", true, seal.Vault{})
	require.NoError(t, err)
	assert.Equal(t, "in-a-token", started.Rotation.To)
	assert.Equal(t, "mira", started.Rotation.StartedBy)
	_, err = s.StartRotation(t.Context(), "default", "waits", "mira", true, seal.Vault{})
	require.ErrorContains(t, err, `identity "default" is being rotated to "in-a-token" since `)
}

func TestSteerARotation(t *testing.T) {
	s := newShelf(t)
	s.create(t, "default")
	s.create(t, "default-2")
	s.apply(t, "default", "orders", "billing")
	s.apply(t, "default-2", "other")

	require.ErrorContains(t, s.PauseRotation(t.Context(), "default", "mira"), `identity "default" is not being rotated`)
	require.ErrorContains(t, s.AcceptRotation(t.Context(), "default", orders, "mira"), `identity "default" is not being rotated`)
	_, err := s.StartRotation(t.Context(), "default", "default-2", "mira", false, s.vault)
	require.NoError(t, err)
	status, err := s.Rotation(t.Context(), "default")
	require.NoError(t, err)
	assert.Len(t, status.Waiting, 2)
	assert.Zero(t, status.Percent())

	require.NoError(t, s.PauseRotation(t.Context(), "default", "bob"))
	require.ErrorContains(t, s.PauseRotation(t.Context(), "default", "bob"), "it is paused already")
	require.ErrorContains(t, s.AcceptRotation(t.Context(), "default", orders, "mira"), "is paused: nothing is cut over now")
	require.NoError(t, s.ResumeRotation(t.Context(), "default", "bob"))

	require.NoError(t, s.AcceptRotation(t.Context(), "default", orders, "mira"))
	require.ErrorContains(t, s.AcceptRotation(t.Context(), "default", orders, "mira"), `has accepted "default-2" already`)
	require.ErrorContains(t, s.AcceptRotation(t.Context(), "default", endpoint.Key{Tenant: "acme", Name: "other"}, "mira"),
		`endpoint acme/other presents identity "default-2", not "default"`)
	require.ErrorContains(t, s.AcceptRotation(t.Context(), "default", endpoint.Key{Tenant: "acme", Name: "none"}, "mira"), "there is no endpoint acme/none")
	status, err = s.Rotation(t.Context(), "default")
	require.NoError(t, err)
	assert.Equal(t, 50, status.Percent())
	require.Len(t, status.Accepted, 1)
	assert.Equal(t, "mira", status.Accepted[0].Status.PinnedBy)
	held, err := s.o.Endpoint(t.Context(), orders)
	require.NoError(t, err)
	now, next, err := s.Presented(t.Context(), held.Endpoint)
	require.NoError(t, err)
	assert.Equal(t, "default-2", now)
	assert.Empty(t, next)

	require.NoError(t, s.RollBackRotation(t.Context(), "default", "mira"))
	now, next, err = s.Presented(t.Context(), held.Endpoint)
	require.NoError(t, err)
	assert.Equal(t, "default", now, "at once, by one change")
	assert.Empty(t, next)
	require.ErrorContains(t, s.ResumeRotation(t.Context(), "default", "mira"), "it is being rolled back")
}

// Of any number who start at once one is first, and the others are told.
func TestOneOfManyStarts(t *testing.T) {
	s := newShelf(t)
	s.create(t, "default")
	const people = 8
	errs := make([]error, people)
	var all sync.WaitGroup
	for i := range people {
		all.Go(func() {
			_, errs[i] = s.StartRotation(t.Context(), "default", "next", "mira", true, seal.Vault{})
		})
	}
	all.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		require.ErrorContains(t, err, `identity "default" is being rotated to "next" since`)
	}
	assert.Equal(t, 1, won)
}

func TestAnAssignmentOfANewerReleaseIsLeftAlone(t *testing.T) {
	s := newShelf(t)
	s.create(t, "default")
	s.putRaw(t, stream.IdentityBucket, rotation.AssignmentKey("default"), `{"version":9,"name":"default","uses":"default"}`)
	_, err := s.StartRotation(t.Context(), "default", "next", "mira", true, seal.Vault{})
	require.ErrorContains(t, err, `the assignment of identity "default" cannot be read; use the release that wrote it`)
	_, err = s.Rotation(t.Context(), "default")
	require.ErrorContains(t, err, "use the release that wrote it")
	_, err = s.Rotations(t.Context())
	require.ErrorContains(t, err, "use the release that wrote it")
}

func TestFollowEndsWhenItIsToldTo(t *testing.T) {
	s := newShelf(t)
	s.create(t, "default")
	_, err := s.StartRotation(t.Context(), "default", "next", "mira", true, seal.Vault{})
	require.NoError(t, err)
	states := []rotation.State{}
	require.NoError(t, s.FollowRotation(t.Context(), "default", time.Millisecond, func(status operator.RotationStatus) (bool, error) {
		states = append(states, status.Rotation.State)
		if len(states) == 1 {
			return true, s.PauseRotation(t.Context(), "default", "mira")
		}
		return false, nil
	}))
	assert.Equal(t, []rotation.State{rotation.Running, rotation.Paused}, states)

	ctx, cancel := context.WithCancelCause(t.Context())
	err = s.FollowRotation(ctx, "default", time.Hour, func(operator.RotationStatus) (bool, error) {
		cancel(errors.New("enough"))
		return true, nil
	})
	require.ErrorIs(t, err, context.Canceled)
}

// careful is a receiver that trusts the development authority and accepts one name, and answers OPTIONS like a program
// that knows nothing of it. It tells the fingerprint of the certificate that each delivery came under.
func (r running) careful(t *testing.T) <-chan string {
	t.Helper()
	certificatePEM, keyPEM, err := r.d.CA.Server("127.0.0.1")
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(certificatePEM, keyPEM)
	require.NoError(t, err)
	arrived := make(chan string, 8)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Method != http.MethodPost {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		sum := sha256.Sum256(q.TLS.PeerCertificates[0].Raw)
		arrived <- hex.EncodeToString(sum[:])
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{
		MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool(),
		Certificates: []tls.Certificate{pair},
		VerifyConnection: func(state tls.ConnectionState) error {
			if names := state.PeerCertificates[0].URIs; len(names) == 1 && names[0].String() == local.ClientName {
				return nil
			}
			return errors.New("another name")
		},
	}
	server.TLS.ClientCAs.AddCert(r.d.CA.Certificate())
	server.StartTLS()
	t.Cleanup(server.Close)
	document, err := json.Marshal(map[string]any{
		"tenant": orders.Tenant, "name": orders.Name, "url": server.URL + "/in",
		"tls": map[string]any{"trust": map[string]any{"roots": string(r.d.CA.CertificatePEM())}},
	})
	require.NoError(t, err)
	r.apply(t, string(document))
	return arrived
}

// until follows the rotation of default until a stage has an endpoint, which it returns.
func until(t *testing.T, w *operator.Wallet, stage func(operator.RotationStatus) []rotation.Line) (line rotation.Line) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(t, w.FollowRotation(ctx, "default", 50*time.Millisecond, func(status operator.RotationStatus) (bool, error) {
		lines := stage(status)
		if len(lines) > 0 {
			line = lines[0]
		}
		return len(lines) == 0, nil
	}))
	return line
}

// With a dispatcher and a receiver: an identity of another name is refused, and says so; one that the receiver knows is
// accepted, and presented from then on.
func TestRotationOnARunningHandfast(t *testing.T) {
	r := start(t)
	arrived := r.careful(t)
	key, err := seal.LoadMasterKey(filepath.Join(r.dir, local.IdentityKeyFile))
	require.NoError(t, err)
	vault := seal.Vault{Current: key}
	w, err := r.Wallet(t.Context())
	require.NoError(t, err)
	fingerprint := map[string]string{}
	for name, known := range map[string]string{"default-2": local.ClientName, "stranger": "spiffe://example.com/stranger"} {
		_, err = w.Create(t.Context(), name, operator.MainAuthority, operator.ProfileOf("", []string{known}, 0), vault)
		require.NoError(t, err)
	}
	for _, name := range []string{"default", "default-2"} {
		record, err := w.Identity(t.Context(), name)
		require.NoError(t, err)
		fingerprint[name] = record.Fingerprint()
	}

	_, err = w.StartRotation(t.Context(), "default", "stranger", "mira", false, vault)
	require.NoError(t, err)
	refused := until(t, w, func(s operator.RotationStatus) []rotation.Line { return s.Refused })
	assert.Equal(t, orders, refused.Endpoint)
	assert.Contains(t, refused.Status.Reason, "it refuses the certificate of stranger")
	assert.NotEmpty(t, refused.Status.Advice)
	_, err = r.publish(t, "1")
	require.NoError(t, err)
	assert.Equal(t, fingerprint["default"], <-arrived)

	require.NoError(t, w.RollBackRotation(t.Context(), "default", "mira"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(t, w.FollowRotation(ctx, "default", 50*time.Millisecond, func(s operator.RotationStatus) (bool, error) { return s.Rotation != nil, nil }))
	status, err := w.Rotation(t.Context(), "default")
	require.NoError(t, err)
	last, ended := status.Ended()
	require.True(t, ended)
	assert.Equal(t, rotation.RolledBack, last.How)

	_, err = w.StartRotation(t.Context(), "default", "default-2", "mira", false, vault)
	require.NoError(t, err)
	until(t, w, func(s operator.RotationStatus) []rotation.Line { return s.Accepted })
	require.EventuallyWithT(t, func(c *assert.CollectT) { // until the dispatcher has read its own word
		_, err := r.publish(t, time.Now().String())
		assert.NoError(c, err)
		assert.Equal(c, fingerprint["default-2"], <-arrived)
	}, 20*time.Second, 50*time.Millisecond)
}
