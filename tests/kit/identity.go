package kit

import (
	"errors"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/rotation"
	"github.com/handfast/handfast/pkg/stream"
)

// Operator is the name under which the kit changes rotations.
const Operator = "kit"

// bucket opens the identities. It is not kept, because the broker may be another one by the next call.
func (w *World) bucket() *stream.Bucket {
	w.T.Helper()
	b, err := stream.OpenBucket(w.T.Context(), w.JS, stream.IdentityBucket, w.logger)
	require.NoError(w.T, err)
	return b
}

// put writes an entry over whatever stands there, as the commands do it.
func (w *World) put(key string, value []byte) {
	w.T.Helper()
	b := w.bucket()
	entry, err := b.Get(w.T.Context(), key)
	if !errors.Is(err, stream.ErrNoEntry) {
		require.NoError(w.T, err)
	}
	_, err = b.Update(w.T.Context(), key, value, entry.Revision)
	require.NoError(w.T, err)
}

// Authority makes and stores a private CA; a lifetime of zero stands for its default.
func (w *World) Authority(name string, lifetime time.Duration) identity.Authority {
	w.T.Helper()
	a, err := identity.NewAuthority(name, "", lifetime, w.IdentityVault, time.Now())
	require.NoError(w.T, err)
	w.putAuthority(a)
	return a
}

// Become takes a stored authority to another state.
func (w *World) Become(name string, state identity.AuthorityState) {
	w.T.Helper()
	a, err := w.StoredAuthority(name).Become(state, time.Now())
	require.NoError(w.T, err)
	w.putAuthority(a)
}

// StoredAuthority reads an authority as it stands.
func (w *World) StoredAuthority(name string) identity.Authority {
	w.T.Helper()
	key := identity.AuthorityKey(name)
	entry, err := w.bucket().Get(w.T.Context(), key)
	require.NoError(w.T, err)
	a, err := identity.DecodeAuthority(key, entry.Value)
	require.NoError(w.T, err)
	return a
}

func (w *World) putAuthority(a identity.Authority) {
	w.T.Helper()
	value, err := a.Encode()
	require.NoError(w.T, err)
	w.put(a.Key(), value)
}

// Create makes and stores an identity that the authority issues and renews; a lifetime of zero stands for 7 days.
func (w *World) Create(name string, from identity.Authority, uri string, lifetime time.Duration) identity.Record {
	w.T.Helper()
	r, err := identity.Create(name, from, identity.Profile{URIs: []string{uri}, Lifetime: lifetime}, w.IdentityVault, time.Now())
	require.NoError(w.T, err)
	w.StoreIdentity(r)
	return r
}

// Import stores an identity that the world's own client authority has issued.
func (w *World) Import(name, uri string) identity.Record {
	w.T.Helper()
	certificatePEM, keyPEM, err := w.ClientCA.Issue(authority.Leaf{URIs: URIs(uri), Client: true})
	require.NoError(w.T, err)
	r, err := identity.ImportPEM(name, certificatePEM, keyPEM, w.IdentityVault, time.Now())
	require.NoError(w.T, err)
	w.StoreIdentity(r)
	return r
}

// StoreIdentity stores an identity.
func (w *World) StoreIdentity(r identity.Record) {
	w.T.Helper()
	value, err := r.Encode()
	require.NoError(w.T, err)
	w.put(r.Key(), value)
}

// StoredIdentity reads an identity as it stands.
func (w *World) StoredIdentity(name string) identity.Record {
	w.T.Helper()
	key := identity.RecordKey(name)
	entry, err := w.bucket().Get(w.T.Context(), key)
	require.NoError(w.T, err)
	r, err := identity.DecodeRecord(key, entry.Value)
	require.NoError(w.T, err)
	return r
}

// Rotate starts a rotation, as `handfast identity rotate` does.
func (w *World) Rotate(name, to string) {
	w.T.Helper()
	started, err := rotation.Start(w.Assignment(name), to, time.Now(), Operator)
	require.NoError(w.T, err)
	w.assign(started)
}

// Turn changes a rotation: rotation.Pause, Resume or Rollback.
func (w *World) Turn(name string, change func(rotation.Assignment, time.Time, string) (rotation.Assignment, error)) {
	w.T.Helper()
	changed, err := change(w.Assignment(name), time.Now(), Operator)
	require.NoError(w.T, err)
	w.assign(changed)
}

func (w *World) assign(a rotation.Assignment) {
	w.T.Helper()
	value, err := a.Encode()
	require.NoError(w.T, err)
	w.put(rotation.AssignmentKey(a.Name), value)
}

// Assignment is what a name stands for, and its rotation.
func (w *World) Assignment(name string) rotation.Assignment {
	w.T.Helper()
	entry, err := w.bucket().Get(w.T.Context(), rotation.AssignmentKey(name))
	if errors.Is(err, stream.ErrNoEntry) {
		return rotation.Assign(name)
	}
	require.NoError(w.T, err)
	a, err := rotation.ParseAssignment(entry.Value)
	require.NoError(w.T, err)
	return a
}

// Statuses is how far each endpoint is, as it is stored; those of other rotations than the present one are left out.
func (w *World) Statuses(name string) map[endpoint.Key]rotation.Status {
	w.T.Helper()
	at := w.Assignment(name)
	entries, err := w.bucket().List(w.T.Context(), "rotation."+name+".>")
	require.NoError(w.T, err)
	all := make(map[endpoint.Key]rotation.Status)
	for _, entry := range entries {
		_, _, key, err := rotation.ParseStatusKey(entry.Key)
		require.NoError(w.T, err)
		s, err := rotation.ParseStatus(entry.Value)
		require.NoError(w.T, err)
		if at.Rotation != nil && s.Rotation == at.Rotation.ID {
			all[key] = s
		}
	}
	return all
}

// Stages counts the endpoints of a rotation by stage.
func (w *World) Stages(name string) map[rotation.Stage]int {
	w.T.Helper()
	count := make(map[rotation.Stage]int)
	for _, s := range w.Statuses(name) {
		count[s.Stage]++
	}
	return count
}
