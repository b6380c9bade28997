package stack_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/services/handfast/stack"
)

// rerun runs the test that calls it in a process of its own, with other environment.
func rerun(t *testing.T, environment ...string) {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	command := exec.CommandContext(t.Context(), program, "-test.run=^"+t.Name()+"$")
	command.Env = append(os.Environ(), environment...)
	out, err := command.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// site is a receiver's machine: a folder with a printed configuration and a server certificate, an application behind,
// and the authority of the deployment that may call.
type site struct {
	ca      *authority.Authority
	folder  string
	address string
	in      stack.Input
	out     stack.Output
	// seen gets what the application was given.
	seen chan *http.Request
}

// newSite prints the configuration of a stack for itself.
func newSite(t *testing.T, name string, proxy bool) *site {
	t.Helper()
	ca, err := authority.New("deployment")
	require.NoError(t, err)
	s := &site{ca: ca, folder: t.TempDir(), address: free(t), seen: make(chan *http.Request, 256)}
	certificate, key, err := ca.Server("localhost", "127.0.0.1")
	require.NoError(t, err)
	s.write(t, "receiver.pem", string(certificate))
	s.write(t, "receiver.pem.key", string(key))
	s.in = stack.Input{
		CA: ca.CertificatePEM(), SAN: san, Host: "localhost", Listen: s.address,
		Certificate: s.path("receiver.pem"), Key: s.path("receiver.pem.key"), CAFile: s.path(stack.CAName),
	}
	if proxy {
		application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			assert.NoError(t, err)
			r.Body = io.NopCloser(bytes.NewReader(body))
			s.seen <- r
			w.WriteHeader(http.StatusNoContent)
		}))
		t.Cleanup(application.Close)
		s.in.Upstream = application.Listener.Addr().String()
	}
	s.out, err = stack.Render(name, s.in)
	require.NoError(t, err)
	for file, text := range s.out.Files {
		s.write(t, file, text)
	}
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.folder, name) }

func (s *site) write(t *testing.T, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(s.path(name), []byte(text), 0o600))
}

// free gives an address that nobody listens on now.
func free(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// program finds a tool, or skips.
func program(t *testing.T, name string) string {
	t.Helper()
	found, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return found
}

// run starts a receiver and waits until it listens.
func (s *site) run(t *testing.T, command string, arguments ...string) {
	t.Helper()
	var log safeBuffer
	ctx, cancel := context.WithCancel(context.Background())
	c := exec.CommandContext(ctx, command, arguments...)
	c.Dir, c.Stdout, c.Stderr = s.folder, &log, &log
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 3 * time.Second
	require.NoError(t, c.Start())
	ended := make(chan struct{})
	go func() {
		_ = c.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if t.Failed() {
			t.Logf("%s said:\n%s", command, log.String())
		}
	})
	require.Eventually(t, func() bool {
		connection, err := (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", s.address)
		if err != nil {
			return false
		}
		return connection.Close() == nil
	}, 30*time.Second, 50*time.Millisecond, "%s does not listen", command)
}

type safeBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// leaf makes a client certificate with a subject and names of its own.
func leaf(t *testing.T, ca *authority.Authority, commonName string, uris ...string) *tls.Certificate {
	t.Helper()
	l := authority.Leaf{Client: true, CommonName: commonName}
	for _, text := range uris {
		u, err := url.Parse(text)
		require.NoError(t, err)
		l.URIs = append(l.URIs, u)
	}
	text, key, err := ca.Issue(l)
	require.NoError(t, err)
	certificate, err := tls.X509KeyPair(text, key)
	require.NoError(t, err)
	return &certificate
}

// call sends one request on a connection of its own. Without a certificate it presents none.
func (s *site) call(t *testing.T, certificate *tls.Certificate, method string, body []byte, change func(*http.Request, *tls.Config)) (*http.Response, error) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(s.ca.Certificate())
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if certificate == nil {
			return new(tls.Certificate), nil
		}
		return certificate, nil
	}}
	_, port, err := net.SplitHostPort(s.address)
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(t.Context(), method, "https://localhost:"+port+"/in", bytes.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("webhook-id", "msg_1")
	if change != nil {
		change(request, config)
	}
	transport := &http.Transport{
		TLSClientConfig: config, ForceAttemptHTTP2: true, ExpectContinueTimeout: 5 * time.Second,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, s.address)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	response, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	response.Body = io.NopCloser(bytes.NewReader(text))
	return response, nil
}
