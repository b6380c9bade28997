package token

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
)

func sign(i *mtls.Identity) error {
	digest := sha256.Sum256([]byte("handshake"))
	_, err := i.Certificate().PrivateKey.(crypto.Signer).Sign(rand.Reader, digest[:], crypto.SHA256)
	return err
}

func TestALostTokenIsOpenedAgainEverMoreSlowly(t *testing.T) {
	story(t, func(f *fake) {
		s := f.start()
		i, err := s.Identity()
		require.NoError(t, err)
		f.set(func() { f.gone = fmt.Errorf("%w: unplugged", errLost) })
		pass(3 * time.Second)
		_, err = s.Identity()
		require.ErrorIs(t, err, mtls.ErrNoIdentity)
		require.EqualError(t, err, `no usable client identity: client identity "acme": the token is not there: unplugged`)

		before := f.attempts()
		pass(10 * time.Minute)
		between := f.attempts() - before
		assert.GreaterOrEqual(t, between, 10, "about one a minute")
		assert.LessOrEqual(t, between, 16)
		for range 1000 { // however much is asked for, the token is left alone
			require.ErrorIs(t, sign(i), mtls.ErrNoIdentity)
		}
		assert.Equal(t, before+between, f.attempts())
		assert.Equal(t, 1, strings.Count(f.said(), "nothing can be sent with it"), f.said())

		f.set(func() { f.gone = nil })
		pass(longestDelay + 2*time.Second)
		again, err := s.Identity()
		require.NoError(t, err)
		assert.Same(t, i, again, "connections go on")
		require.NoError(t, sign(i))
		assert.Equal(t, 1, strings.Count(f.said(), "is back"), f.said())
	})
}

func TestASessionThatEndedFailsNoSignature(t *testing.T) {
	story(t, func(f *fake) {
		s := f.start()
		i, err := s.Identity()
		require.NoError(t, err)
		before := s.current()
		var all sync.WaitGroup
		results := make([]error, 50)
		// The old device fails, one that is opened now does not.
		before.sign = func([]byte, crypto.SignerOpts) ([]byte, error) { return nil, errLost }
		for n := range results {
			all.Go(func() { results[n] = sign(i) })
		}
		all.Wait()
		for _, err := range results {
			require.NoError(t, err)
		}
		assert.Equal(t, 2, f.attempts(), "all of them share one opening")
		pass(time.Second)
		assert.Equal(t, 1, f.closed, "the old one")
	})
}

func TestARestartMayTakeAMoment(t *testing.T) {
	story(t, func(f *fake) {
		s := f.start()
		i, err := s.Identity()
		require.NoError(t, err)
		f.set(func() { f.gone = errLost })
		time.AfterFunc(300*time.Millisecond, func() { f.set(func() { f.gone = nil }) })
		require.NoError(t, sign(i), "it waited")
		assert.LessOrEqual(t, f.attempts(), 6)
	})
}

func TestARefusedPINIsNeverTriedTwice(t *testing.T) {
	story(t, func(f *fake) {
		s := f.start()
		// The PIN is changed in the token, and its daemon restarted.
		f.set(func() { f.pin, f.gone = "new", errLost })
		pass(2 * time.Second)
		f.set(func() { f.gone = nil })
		pass(time.Hour)
		assert.Equal(t, 1, count(f, "right")-1, "once with the PIN that was right until then")
		_, err := s.Identity()
		require.ErrorIs(t, err, mtls.ErrNoIdentity)
		require.ErrorIs(t, err, errPIN)

		f.write("pin", []byte("wrong"))
		pass(time.Hour)
		f.write("pin", []byte("new"))
		pass(3 * time.Second)
		_, err = s.Identity()
		require.NoError(t, err)
		assert.Equal(t, 1, count(f, "wrong"))
		assert.Equal(t, 1, count(f, "new"))
		for _, secret := range []string{"right", "wrong", "new\n"} {
			assert.NotContains(t, f.said(), secret)
		}
	})
}

// count is how often a PIN was judged by the token.
func count(f *fake, secret string) (number int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, tried := range f.pins {
		if tried == secret {
			number++
		}
	}
	return number
}

func TestATokenThatHangsHoldsNobodyForEver(t *testing.T) {
	story(t, func(f *fake) {
		s := f.start()
		i, err := s.Identity()
		require.NoError(t, err)
		hang := make(chan struct{})
		f.set(func() { f.hang = hang })
		begun := time.Now()
		err = sign(i)
		require.ErrorIs(t, err, errHung)
		assert.LessOrEqual(t, time.Since(begun), signTime)
		pass(openTime + signTime)
		_, err = s.Identity()
		require.ErrorIs(t, err, mtls.ErrNoIdentity)
		require.ErrorContains(t, err, "the token does not answer")
		opened := f.attempts()
		pass(time.Hour)
		assert.Equal(t, opened, f.attempts(), "one call at most hangs in it")

		f.set(func() { f.hang = nil })
		close(hang)
		pass(time.Minute)
		_, err = s.Identity()
		require.NoError(t, err, f.said())
		require.NoError(t, sign(i))
	})
}

func TestABrokenSuccessorChangesNothing(t *testing.T) {
	story(t, func(f *fake) {
		f.lifetime = 10 * time.Minute
		f.write("chain.pem", f.certify(f.key, "first"))
		s := f.start()
		first, err := s.Identity()
		require.NoError(t, err)
		f.write("chain.pem", f.certify(newKey(t), "of another key"))
		pass(time.Minute)
		f.set(func() { f.gone = errLost }) // not even when the token goes and comes in the meantime
		pass(3 * time.Second)
		f.set(func() { f.gone = nil })
		pass(time.Minute)
		now, err := s.Identity()
		require.NoError(t, err)
		assert.Same(t, first, now)
		assert.Equal(t, 2, strings.Count(f.said(), "keeping the current one"), "once before and once after the token went: %s", f.said())

		pass(10 * time.Minute) // until it expires
		_, err = s.Identity()
		require.ErrorIs(t, err, mtls.ErrNoIdentity)
		require.ErrorContains(t, err, "expired on")
		require.ErrorContains(t, err, "and its successor cannot be used")
		require.ErrorContains(t, err, `the private key does not belong to certificate "CN=of another key"`)

		f.write("chain.pem", f.certify(f.key, "second"))
		pass(3 * time.Second)
		now, err = s.Identity()
		require.NoError(t, err)
		assert.Equal(t, "second", now.Leaf().Subject.CommonName)
		assert.Equal(t, 1, strings.Count(f.said(), "client identity renewed"), f.said())
	})
}

func TestANewKeyTakesOverWithItsCertificate(t *testing.T) {
	story(t, func(f *fake) {
		s := f.start()
		first, err := s.Identity()
		require.NoError(t, err)
		next := newKey(t)
		f.set(func() { f.key, f.gone = next, errLost })
		pass(3 * time.Second)
		f.set(func() { f.gone = nil })
		pass(10 * time.Second)
		_, err = s.Identity()
		require.ErrorContains(t, err, "the private key does not belong to", "the key is new, the certificate is not")
		f.write("chain.pem", f.certify(next, "second"))
		pass(longestDelay)
		second, err := s.Identity()
		require.NoError(t, err)
		assert.Equal(t, "second", second.Leaf().Subject.CommonName)
		require.NoError(t, sign(second))
		require.ErrorContains(t, sign(first), "holds another key under this name now")
	})
}

func TestOpenGivesUpOnATokenThatHangs(t *testing.T) {
	story(t, func(f *fake) {
		hang := make(chan struct{})
		f.hang = hang
		_, err := open(f.t.Context(), "acme", f.config, Options{}, f.open)
		require.ErrorIs(t, err, errHung)
		f.set(func() { f.hang = nil })
		close(hang)
		pass(time.Second)
		assert.Equal(t, 1, f.closed, "what came too late is closed")
	})
}
