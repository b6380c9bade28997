//go:build cgo

package token_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/token"
)

const (
	tokenLabel = "acme"
	rightPIN   = "7391-right"
	wrongPIN   = "5555-wrong"
)

// modulePath is where SoftHSM is on common systems. Without it these tests have
// nothing to talk to; whoever asks for them by HANDFAST_E2E gets a failure.
func modulePath(tb testing.TB) string {
	tb.Helper()
	places := []string{
		os.Getenv("SOFTHSM2_MODULE"),
		"/usr/lib/softhsm/libsofthsm2.so",
		"/usr/lib64/softhsm/libsofthsm2.so",
		"/usr/lib64/pkcs11/libsofthsm2.so",
		"/usr/local/lib/softhsm/libsofthsm2.so",
		"/opt/homebrew/lib/softhsm/libsofthsm2.so",
	}
	for _, place := range places {
		if _, err := os.Stat(place); place != "" && err == nil {
			return place
		}
	}
	if strings.Contains(os.Getenv("HANDFAST_E2E"), "token") {
		tb.Fatal("HANDFAST_E2E asks for tokens, but SoftHSM is not installed (Debian: softhsm2)")
	}
	tb.Skip("SoftHSM is not installed (Debian: softhsm2); SOFTHSM2_MODULE may name it")
	return ""
}

// bench is one fresh token in a directory of its own.
type bench struct {
	tb        testing.TB
	directory string
	config    token.Config
	ca        theirCA
}

// newBench initialises a token. SoftHSM reads its configuration when it is
// initialised, so nothing of an earlier test may hold it open.
func newBench(tb testing.TB) *bench {
	tb.Helper()
	module := modulePath(tb)
	directory := tb.TempDir()
	require.NoError(tb, os.Mkdir(filepath.Join(directory, "tokens"), 0o700))
	conf := filepath.Join(directory, "softhsm2.conf")
	text := fmt.Sprintf("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", filepath.Join(directory, "tokens"))
	require.NoError(tb, os.WriteFile(conf, []byte(text), 0o600))
	setenv(tb, "SOFTHSM2_CONF", conf)
	b := &bench{tb: tb, directory: directory, ca: newTheirCA(tb)}
	b.config = token.Config{
		Module: module, Token: tokenLabel, Object: "web",
		PIN: token.PINSource{File: b.write("pin", []byte(rightPIN+"\n"))},
	}
	b.initialise()
	return b
}

func setenv(tb testing.TB, name, value string) {
	tb.Helper()
	tb.(interface{ Setenv(key, value string) }).Setenv(name, value)
}

func (b *bench) initialise() {
	b.tb.Helper()
	b.raw(func(p *pkcs11.Ctx, slot uint) {
		require.NoError(b.tb, p.InitToken(slot, "so-pin", tokenLabel))
		session, err := p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		require.NoError(b.tb, err)
		require.NoError(b.tb, p.Login(session, pkcs11.CKU_SO, "so-pin"))
		require.NoError(b.tb, p.InitPIN(session, rightPIN))
	})
}

// raw speaks to the module itself. If it was initialised already, by a source
// under test, it stays so.
func (b *bench) raw(work func(p *pkcs11.Ctx, slot uint)) {
	b.tb.Helper()
	p := pkcs11.New(b.config.Module)
	require.NotNil(b.tb, p)
	if err := p.Initialize(); err == nil {
		defer func() { require.NoError(b.tb, p.Finalize()) }()
	} else {
		require.ErrorIs(b.tb, err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED))
	}
	slots, err := p.GetSlotList(true)
	require.NoError(b.tb, err)
	require.NotEmpty(b.tb, slots)
	work(p, slots[0])
}

// restart ends every session behind the source's back, as a restart of an HSM's
// daemon does.
func (b *bench) restart() {
	b.tb.Helper()
	b.raw(func(p *pkcs11.Ctx, slot uint) { require.NoError(b.tb, p.CloseAllSessions(slot)) })
}

func (b *bench) write(name string, content []byte) string {
	b.tb.Helper()
	name = filepath.Join(b.directory, name)
	require.NoError(b.tb, os.WriteFile(name+".new", content, 0o600))
	require.NoError(b.tb, os.Rename(name+".new", name))
	return name
}

func (b *bench) template() *x509.CertificateRequest {
	return &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "acme", Organization: []string{"Acme"}},
		URIs:    []*url.URL{{Scheme: "https", Host: "acme.example", Path: "/handfast"}},
	}
}

// create makes the key and returns the request.
func (b *bench) create(kind token.KeyKind) *x509.CertificateRequest {
	b.tb.Helper()
	text, err := token.Create(b.tb.Context(), b.config, kind, b.template())
	require.NoError(b.tb, err)
	return parseRequest(b.tb, text)
}

// sign is what the receiver's CA does with a request.
func (b *bench) sign(request *x509.CertificateRequest, alter func(*x509.Certificate)) []byte {
	b.tb.Helper()
	return b.ca.issue(b.tb, request.PublicKey, request.Subject, alter)
}

// withFile makes a key, lets it be certified and puts the chain into a file.
func (b *bench) withFile(kind token.KeyKind) *x509.CertificateRequest {
	b.tb.Helper()
	request := b.create(kind)
	b.config.Certificate = b.write("chain.pem", b.sign(request, nil))
	return request
}

func (b *bench) open(options token.Options) *token.Source {
	b.tb.Helper()
	s, err := token.Open(b.tb.Context(), "acme", b.config, options)
	require.NoError(b.tb, err)
	b.tb.Cleanup(s.Close)
	return s
}

// run runs the source until the test ends.
func (b *bench) run(s *token.Source) {
	b.tb.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	b.tb.Cleanup(func() {
		stop()
		require.NoError(b.tb, <-ended)
		s.Close()
	})
}

func identity(tb testing.TB, s mtls.Source) *mtls.Identity {
	tb.Helper()
	i, err := s.Identity()
	require.NoError(tb, err)
	return i
}

const soon = 5 * time.Second

type safeLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *safeLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *safeLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *safeLog) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func signerOf(i *mtls.Identity) crypto.Signer { return i.Certificate().PrivateKey.(crypto.Signer) }

func parseRequest(tb testing.TB, text []byte) *x509.CertificateRequest {
	tb.Helper()
	block, rest := pem.Decode(text)
	require.Empty(tb, rest)
	require.Equal(tb, "CERTIFICATE REQUEST", block.Type)
	request, err := x509.ParseCertificateRequest(block.Bytes)
	require.NoError(tb, err)
	require.NoError(tb, request.CheckSignature())
	return request
}
