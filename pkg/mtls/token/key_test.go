package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func signBare(ctx context.Context, k *Key) ([]byte, error) {
	digest := sha256.Sum256([]byte("message"))
	return k.Sign(ctx, digest[:], crypto.SHA256)
}

func TestABareKeyOpensItsTokenWhenItIsNeeded(t *testing.T) {
	story(t, func(f *fake) {
		f.gone = fmt.Errorf("%w: unplugged", errLost)
		k := f.bare()
		assert.Zero(t, f.attempts(), "nothing is asked before somebody signs")
		_, err := k.Public(f.t.Context())
		require.ErrorIs(t, err, ErrNoKey)
		for range 100 {
			_, err = signBare(f.t.Context(), k)
			require.ErrorIs(t, err, ErrNoKey)
			require.ErrorContains(t, err, "unplugged")
		}
		assert.Equal(t, 1, f.attempts(), "a lost token is left alone")
		f.set(func() { f.gone = nil })
		pass(firstDelay)
		signature, err := signBare(f.t.Context(), k)
		require.NoError(t, err)
		digest := sha256.Sum256([]byte("message"))
		assert.True(t, ecdsa.VerifyASN1(&f.key.PublicKey, digest[:], signature))
		public, err := k.Public(f.t.Context())
		require.NoError(t, err)
		assert.True(t, f.key.PublicKey.Equal(public))
	})
}

func TestABareKeyIsNotReplacedByAnother(t *testing.T) {
	story(t, func(f *fake) {
		k := f.bare()
		_, err := signBare(f.t.Context(), k)
		require.NoError(t, err)
		k.token.current().sign = func([]byte, crypto.SignerOpts) ([]byte, error) { return nil, errLost }
		f.set(func() { f.key = newKey(t) })
		for range 3 {
			_, err = signBare(f.t.Context(), k)
			require.ErrorIs(t, err, ErrNoKey)
			require.ErrorContains(t, err, `holds another key "web" than before`)
			pass(longestDelay)
		}
		assert.Contains(t, f.said(), "token is gone")
	})
}

func TestABareKeyTakesNoMoreThanItsShare(t *testing.T) {
	story(t, func(f *fake) {
		f.config.Sessions = 4
		k := f.bare()
		_, err := signBare(f.t.Context(), k)
		require.NoError(t, err)
		hang := make(chan struct{})
		f.set(func() { f.hang = hang })
		ctx, stop := context.WithTimeout(f.t.Context(), 3*time.Second)
		defer stop()
		var all sync.WaitGroup
		results := make([]error, 100)
		for i := range results {
			all.Go(func() { _, results[i] = signBare(ctx, k) })
		}
		synctest.Wait()
		assert.Equal(t, int64(3+maxWaiting), k.asked.Load())
		all.Wait()
		refused, gaveUp := 0, 0
		for _, err := range results {
			require.Error(t, err)
			switch {
			case strings.Contains(err.Error(), "more than 48 signatures wait"):
				refused++
			case strings.Contains(err.Error(), "all 3 sessions"):
				gaveUp++
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}
		}
		assert.Equal(t, 100-3-maxWaiting, refused)
		assert.Equal(t, maxWaiting, gaveUp)
		f.set(func() { f.hang = nil })
		close(hang)
		pass(time.Second)
		_, err = signBare(f.t.Context(), k)
		require.NoError(t, err)
		assert.Zero(t, k.asked.Load())
	})
}

func TestABareKeyThatIsClosedSignsNothing(t *testing.T) {
	story(t, func(f *fake) {
		k := f.bare()
		_, err := signBare(f.t.Context(), k)
		require.NoError(t, err)
		k.Close()
		k.Close()
		_, err = signBare(f.t.Context(), k)
		require.ErrorIs(t, err, ErrNoKey)
		require.ErrorContains(t, err, "it was closed")
		assert.Equal(t, 1, f.closed)
	})
}

func TestABareKeyHasNoCertificate(t *testing.T) {
	story(t, func(f *fake) {
		_, err := bareKey(f.config, nil, f.open)
		require.ErrorContains(t, err, "certificate has no place here")
		_, err = bareKey(Config{}, nil, f.open)
		require.ErrorContains(t, err, "module-path is missing")
	})
}
