package token

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// fake is a token whose troubles a test decides on, for what SoftHSM cannot do:
// lock itself, hang, count.
type fake struct {
	t         *testing.T
	directory string
	config    Config
	lifetime  time.Duration // of certificates

	mu     sync.Mutex
	key    *ecdsa.PrivateKey
	pin    string
	gone   error // opening, checking and signing fail with it
	hang   chan struct{}
	opened int      // how often it was tried
	pins   []string // those that it has judged
	closed int
	log    bytes.Buffer
}

// story runs in a bubble, with virtual time.
func story(t *testing.T, tell func(*fake)) {
	t.Helper()
	directory := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{t: t, directory: directory, lifetime: 24 * time.Hour, pin: "right", key: newKey(t)}
		f.config = Config{
			Module: "/none.so", Token: "acme", Object: "web",
			PIN: PINSource{File: f.write("pin", []byte("right\n"))}, Certificate: f.write("chain.pem", f.certify(f.key, "first")),
		}
		tell(f)
	})
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func (f *fake) certify(key *ecdsa.PrivateKey, name string) []byte {
	f.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(f.lifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(f.t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func (f *fake) write(name string, content []byte) string {
	f.t.Helper()
	name = filepath.Join(f.directory, name)
	require.NoError(f.t, os.WriteFile(name, content, 0o600))
	return name
}

// start opens a source on the fake and runs it until the story ends.
func (f *fake) start() *Source {
	f.t.Helper()
	s, err := open(f.t.Context(), "acme", f.config, Options{Logger: slog.New(slog.NewTextHandler(f, nil))}, f.open)
	require.NoError(f.t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	f.t.Cleanup(func() {
		stop()
		require.NoError(f.t, <-ended)
		s.Close()
	})
	return s
}

func (f *fake) open(_ Config, secret pin) (*device, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opened++
	if err := f.trouble(); err != nil {
		return nil, err
	}
	f.pins = append(f.pins, *secret.text)
	if *secret.text != f.pin {
		return nil, fmt.Errorf("%w: refused", errPIN)
	}
	key := f.key
	return &device{
		public: key.Public(),
		sign: func(digest []byte, options crypto.SignerOpts) ([]byte, error) {
			if err := f.use(); err != nil {
				return nil, err
			}
			return key.Sign(rand.Reader, digest, options)
		},
		check: f.use,
		close: func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.closed++
		},
	}, nil
}

// use is a call into the module.
func (f *fake) use() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.trouble()
}

func (f *fake) trouble() error {
	if hang := f.hang; hang != nil {
		f.mu.Unlock()
		<-hang
		f.mu.Lock()
	}
	return f.gone
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// bare is a key without a certificate on the fake.
func (f *fake) bare() *Key {
	f.t.Helper()
	config := f.config
	config.Certificate = ""
	k, err := bareKey(config, slog.New(slog.NewTextHandler(f, nil)), f.open)
	require.NoError(f.t, err)
	f.t.Cleanup(k.Close)
	return k
}

// Write takes a line of the log.
func (f *fake) Write(line []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.Write(line)
}

func (f *fake) said() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.log.String()
}

func (f *fake) attempts() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opened
}

// pass lets virtual time pass and everything settle.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
