package mtls

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func issuerNumber(n byte) [sha256.Size]byte { return [sha256.Size]byte{n} }

// enterSoon tries to enter for a second.
func enterSoon(t *testing.T, l *lanes, issuer byte, size int) (func(), error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	return l.enter(ctx, issuerNumber(issuer), size)
}

// TestLargeListsKeepNobodyWaiting has one issuer's large lists stand in a queue.
func TestLargeListsKeepNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLanes()
		leave, err := enterSoon(t, l, 1, maxCRL)
		require.NoError(t, err)
		refused := make(chan error, 8)
		for range cap(refused) {
			go func() {
				_, err := l.enter(t.Context(), issuerNumber(1), maxCRL)
				refused <- err
			}()
		}
		synctest.Wait()
		began := time.Now()
		other, err := enterSoon(t, l, 2, maxCRL)
		require.NoError(t, err, "another issuer's large list has a hand of its own")
		for range smallHands {
			_, err = enterSoon(t, l, 1, smallCRL)
			require.NoError(t, err, "a small list does not wait for large ones")
		}
		assert.Equal(t, began, time.Now(), "nobody has waited")

		_, err = enterSoon(t, l, 3, maxCRL)
		require.ErrorIs(t, err, errBusy, "there are two hands for all large ones")
		assert.Equal(t, time.Second, time.Since(began), "and nobody waits longer than he has time")
		_, err = enterSoon(t, l, 3, smallCRL)
		require.ErrorIs(t, err, errBusy, "small ones have a bound, too")
		other()
		third, err := enterSoon(t, l, 3, maxCRL)
		require.NoError(t, err, "who has given up keeps nothing")
		third()
		leave()
		synctest.Wait()
		assert.Len(t, refused, 1, "the next of the queue")
		require.NoError(t, <-refused)
		for range cap(refused) - 1 {
			<-l.large
			<-l.turns[1]
			require.NoError(t, <-refused)
		}
	})
}

// TestAListThatWasNotReadInTimeIsNoBadList: when all hands are full, the check goes on without an answer, and the next one
// finds out.
func TestAListThatWasNotReadInTimeIsNoBadList(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	now := time.Now()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageCRLSign,
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "issuer"}}, key.Public(), key)
	require.NoError(t, err)
	issuer, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(time.Hour)}, issuer, key)
	require.NoError(t, err)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(list) }))
	defer server.Close()

	r := NewRevocation((&net.Dialer{}).DialContext)
	for range smallHands {
		r.lanes.small <- struct{}{}
	}
	at := listKey{url: server.URL, issuer: sha256.Sum256(issuer.Raw)}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = r.load(ctx, at, issuer)
	require.ErrorIs(t, err, errBusy)
	require.ErrorContains(t, err, server.URL)
	for range smallHands {
		<-r.lanes.small
	}
	got, err := r.list(t.Context(), server.URL, issuer)
	require.NoError(t, err, "it is not remembered as a bad one for a minute")
	require.NotNil(t, got)
}
