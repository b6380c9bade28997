package mtls_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
)

func TestFileSourceFollowsRenames(t *testing.T) {
	t.Parallel()
	watch(t, func(w *watched) {
		assert.Equal(t, "first", w.subject())
		w.pass(time.Minute)
		assert.Empty(t, w.said(), "nothing happened, nothing to say")

		second := clientPair(t, w.ca, "second")
		w.replace(w.certificate, second.certificate)
		w.replace(w.key, second.key)
		assert.Equal(t, "first", w.subject(), "a source never reads in Identity")
		w.pass(2 * time.Second)
		assert.Equal(t, "second", w.subject())
		require.Len(t, w.changes(), 1)
		assert.Equal(t, "second", w.changes()[0].Leaf().Subject.CommonName)
		assert.Equal(t, 1, w.logged("INFO"))
		assert.Zero(t, w.logged("WARN"))
		w.pass(time.Minute)
		assert.Len(t, w.changes(), 1)
	})
}

// Kubernetes mounts a secret as links through a directory link, "..data", which
// it replaces in one step.
func TestFileSourceFollowsSymlinkSwaps(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &watched{
			t: t, directory: directory, ca: newTestAuthority(t, "root"),
			certificate: filepath.Join(directory, "tls.crt"), key: filepath.Join(directory, "tls.key"),
		}
		mount := func(version string) {
			p := clientPair(t, w.ca, version)
			require.NoError(t, os.Mkdir(filepath.Join(directory, version), 0o700))
			w.write(filepath.Join(directory, version, "tls.crt"), p.certificate)
			w.write(filepath.Join(directory, version, "tls.key"), p.key)
			require.NoError(t, os.Symlink(version, filepath.Join(directory, "..data_tmp")))
			require.NoError(t, os.Rename(filepath.Join(directory, "..data_tmp"), filepath.Join(directory, "..data")))
		}
		mount("first")
		require.NoError(t, os.Symlink(filepath.Join("..data", "tls.crt"), w.certificate))
		require.NoError(t, os.Symlink(filepath.Join("..data", "tls.key"), w.key))
		w.run(func(w *watched) {
			assert.Equal(t, "first", w.subject())
			mount("second")
			w.pass(2 * time.Second)
			assert.Equal(t, "second", w.subject())
			assert.Len(t, w.changes(), 1)
		})
	})
}

func TestFileSourceSurvivesHalfWrittenPairs(t *testing.T) {
	t.Parallel()
	watch(t, func(w *watched) {
		second := clientPair(t, w.ca, "second")
		w.write(w.certificate, second.certificate[:300])
		w.pass(time.Minute)
		assert.Equal(t, "first", w.subject())
		assert.Equal(t, 1, w.logged("WARN"), "one problem is told once, not at every look")
		assert.Contains(t, w.said(), "still being written")

		w.write(w.certificate, second.certificate)
		w.pass(time.Minute)
		assert.Equal(t, "first", w.subject())
		assert.Equal(t, 2, w.logged("WARN"), "another problem is told, too")
		assert.Contains(t, w.said(), "the private key does not belong")

		require.NoError(t, os.Remove(w.key))
		w.pass(time.Minute)
		assert.Equal(t, "first", w.subject())
		assert.Equal(t, 3, w.logged("WARN"))

		w.write(w.key, second.key)
		w.pass(2 * time.Second)
		assert.Equal(t, "second", w.subject())
		assert.Len(t, w.changes(), 1)

		w.write(w.key, second.key[:10])
		w.pass(time.Minute)
		w.write(w.key, second.key)
		w.pass(time.Minute)
		w.write(w.key, second.key[:10])
		w.pass(time.Minute)
		assert.Equal(t, 5, w.logged("WARN"), "a problem that came back is told again")
		assert.Len(t, w.changes(), 1, "the same pair again is no change")

		third := clientPair(t, w.ca, "third")
		w.write(w.key, third.key[:10])
		w.pass(2 * time.Second)
		w.write(w.certificate, third.certificate)
		w.write(w.key, third.key)
		w.pass(2 * time.Second)
		w.write(w.key, third.key[:10])
		w.pass(2 * time.Second)
		assert.Equal(t, "third", w.subject())
		assert.Equal(t, 6, w.logged("WARN"), "also when it came back right after a renewal")
		assert.NotContains(t, w.said(), string(second.key[40:80]))
	})
}

func TestFileSourceTakesUpALaterCertificateInTime(t *testing.T) {
	t.Parallel()
	watch(t, func(w *watched) {
		later := issuePair(t, w.ca, authority.Leaf{
			CommonName: "later", Client: true, NotBefore: time.Now().Add(time.Hour), NotAfter: time.Now().Add(2 * time.Hour),
		})
		w.write(w.certificate, later.certificate)
		w.write(w.key, later.key)
		w.pass(time.Hour - 2*time.Second)
		assert.Equal(t, "first", w.subject())
		assert.Equal(t, 1, w.logged("WARN"))
		w.pass(4 * time.Second)
		assert.Equal(t, "later", w.subject(), "the same content became usable")
	})
}

func TestFileSourceTakesUpAnAddedIntermediate(t *testing.T) {
	t.Parallel()
	watch(t, func(w *watched) {
		intermediate, err := w.ca.Intermediate("intermediate")
		require.NoError(t, err)
		p := clientPair(t, intermediate, "second")
		w.write(w.certificate, toPEM(certificates(t, p.certificate)[0]))
		w.write(w.key, p.key)
		w.pass(2 * time.Second)
		w.write(w.certificate, p.certificate)
		w.pass(2 * time.Second)
		require.Len(t, w.changes(), 2)
		assert.Len(t, w.changes()[1].Certificate().Certificate, 2)
		assert.Equal(t, w.changes()[0].Fingerprint(), w.changes()[1].Fingerprint())

		w.write(w.certificate, append([]byte("# a remark\n"), p.certificate...))
		w.pass(2 * time.Second)
		assert.Len(t, w.changes(), 2, "a remark is no change")
	})
}

func TestFileSourceExpires(t *testing.T) {
	t.Parallel()
	watch(t, func(w *watched) {
		short := issuePair(t, w.ca, authority.Leaf{CommonName: "short", Client: true, NotAfter: time.Now().Add(time.Hour)})
		w.write(w.certificate, short.certificate)
		w.write(w.key, short.key)
		w.pass(time.Hour)
		assert.Equal(t, "short", w.subject())
		w.pass(time.Minute)
		_, err := w.source.Identity()
		require.ErrorIs(t, err, mtls.ErrNoIdentity)
		requireIdentityError(t, err)
		require.ErrorContains(t, err, "expired on")
		require.ErrorContains(t, err, w.certificate, "says where the new one belongs")
		assert.Equal(t, 1, w.logged("ERROR"))

		w.write(w.certificate, []byte("oops"))
		w.pass(time.Minute)
		_, err = w.source.Identity()
		require.ErrorContains(t, err, "and its successor cannot be used")
		require.ErrorContains(t, err, "not PEM")
		assert.Equal(t, 2, w.logged("ERROR"))

		third := clientPair(t, w.ca, "third")
		w.write(w.certificate, third.certificate)
		w.write(w.key, third.key)
		w.pass(2 * time.Second)
		assert.Equal(t, "third", w.subject())
	})
}

func TestWatchFilesRefusesToStartOnBadFiles(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	certificate, key := filepath.Join(directory, "tls.crt"), filepath.Join(directory, "tls.key")
	_, err := mtls.WatchFiles("acme", certificate, key, mtls.FileOptions{})
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, certificate)
	require.ErrorContains(t, err, key, "both are told at once")
	require.ErrorContains(t, err, `"acme"`)

	p := clientPair(t, newTestAuthority(t, "root"), "client")
	require.NoError(t, os.WriteFile(certificate, p.certificate, 0o600))
	_, err = mtls.WatchFiles("acme", certificate, directory, mtls.FileOptions{})
	require.ErrorContains(t, err, "is not a regular file")

	require.NoError(t, os.WriteFile(key, make([]byte, 1<<20+1), 0o600))
	_, err = mtls.WatchFiles("acme", certificate, key, mtls.FileOptions{})
	require.ErrorContains(t, err, "larger than")

	require.NoError(t, os.WriteFile(key, p.certificate, 0o600))
	_, err = mtls.WatchFiles("acme", certificate, key, mtls.FileOptions{})
	requireIdentityError(t, err)
	require.ErrorContains(t, err, key)

	require.NoError(t, os.WriteFile(key, p.key, 0o600))
	late := func() time.Time { return time.Now().AddDate(1, 0, 0) }
	_, err = mtls.WatchFiles("acme", certificate, key, mtls.FileOptions{Now: late})
	require.ErrorContains(t, err, "expired", "the injected clock counts")
}

// Readers, a writer and the watcher meet; the race detector is the judge, and
// every identity that anybody sees must be whole.
func TestFileSourceWithManyReaders(t *testing.T) {
	t.Parallel()
	watch(t, func(w *watched) {
		pairs := []pair{clientPair(t, w.ca, "even"), clientPair(t, w.ca, "odd")}
		stop := make(chan struct{})
		failures := make(chan error, 16)
		var readers sync.WaitGroup
		for range 16 {
			readers.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(10 * time.Millisecond):
					}
					i, err := w.source.Identity()
					if err == nil && len(i.Certificate().Certificate) != 1 {
						err = errors.New("torn identity")
					}
					if err != nil {
						failures <- err
						return
					}
				}
			})
		}
		for n := range 20 {
			w.replace(w.certificate, pairs[n%2].certificate)
			w.replace(w.key, pairs[n%2].key)
			w.pass(2 * time.Second)
		}
		close(stop)
		readers.Wait()
		assert.Empty(t, failures)
		assert.Len(t, w.changes(), 20)
	})
}
