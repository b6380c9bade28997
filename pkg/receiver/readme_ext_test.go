package receiver_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	mint "github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/receiver"
	"github.com/handfast/handfast/pkg/signature"
)

// shownReceiver is a marker of README.md and the code block behind it.
var shownReceiver = regexp.MustCompile("(?m)^<!-- receiver: ([^ ]+) -->\n\n```[a-z]+\n((?s:.*?))\n```$")

// listeningAt is how a program says where it is.
var listeningAt = regexp.MustCompile(`(?i)^(?:\* )?listening on (?:ssl://)?(127\.0\.0\.1:\d+)`)

// TestREADMEShowsWhatRuns holds the page to the files that the tests below run.
func TestREADMEShowsWhatRuns(t *testing.T) {
	page, err := os.ReadFile("README.md")
	require.NoError(t, err)
	blocks := map[string]string{}
	for _, found := range shownReceiver.FindAllStringSubmatch(string(page), -1) {
		blocks[found[1]] = found[2]
	}
	files, err := filepath.Glob("testdata/page/*")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	assert.Len(t, blocks, len(files), "a marker without a file that a test runs")
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		want := strings.TrimSpace(strings.TrimPrefix(string(text), "//go:build ignore\n"))
		assert.Equal(t, want, blocks[filepath.Base(file)], "README.md differs from %s: copy the file into it", file)
	}
	for _, language := range []string{"Go", "Node", "Python", "Java", "Ruby", "PHP", ".NET"} {
		_, section, ok := strings.Cut(string(page), "\n## "+language+"\n")
		require.True(t, ok, language)
		section, _, _ = strings.Cut(section, "\n## ")
		executed := strings.Contains(section, "<!-- receiver: ")
		assert.NotEqual(t, executed, strings.Contains(section, "Not executed"), "%s: say whether a test runs it", language)
	}
}

// missing skips a test whose tool is not there. In a CI that says that it has everything, it is a failure.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" && os.Getenv("HANDFAST_REQUIRE_TOOLS") != "" {
		require.Fail(t, what)
	}
	t.Skip(what + "; .ci/run installs it")
}

func TestTheGoPageRuns(t *testing.T) {
	newPage(t, "", built(t, "testdata/page/main.go")).exercise()
}

// TestTheMiddlewaresPageRuns has the only receiver of the page that tells an attempt which comes twice as it was from one
// that was signed again.
func TestTheMiddlewaresPageRuns(t *testing.T) {
	p := newPage(t, "", built(t, "testdata/page/guarded.go"))
	p.replay = receiver.StatusReplay
	p.exercise()
}

func built(t *testing.T, source string) (program string) {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		missing(t, "go is not in PATH")
	}
	program = filepath.Join(t.TempDir(), "receiver")
	building, cancel := context.WithTimeout(t.Context(), 2*pageTime)
	defer cancel()
	out, err := exec.CommandContext(building, "go", "build", "-o", program, source).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return program
}

func TestTheNodePageRuns(t *testing.T) {
	modules := os.Getenv("HANDFAST_NODE_MODULES")
	if modules == "" {
		missing(t, "HANDFAST_NODE_MODULES does not tell a folder with standardwebhooks")
	}
	if _, err := exec.LookPath("node"); err != nil {
		missing(t, "node is not in PATH")
	}
	modules, err := filepath.Abs(modules)
	require.NoError(t, err)
	dir := t.TempDir()
	text, err := os.ReadFile("testdata/page/receiver.mjs")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "receiver.mjs"), text, 0o600))
	require.NoError(t, os.Symlink(modules, filepath.Join(dir, "node_modules")))
	newPage(t, dir, "node", "receiver.mjs").exercise()
}

// page is a running program of README.md.
type page struct {
	t       *testing.T
	ca      *mint.Authority
	key     signature.Key
	files   string // a folder with server.pem, server.key and ca.pem
	env     []string
	nobody  int // what a client without a certificate gets; 0 for no answer at all
	replay  int // what an attempt gets that comes a second time as it was
	address string
	lines   *bufio.Scanner
	within  time.Duration // how long its programs may run
}

// pageTime is how long a program of the page may run, on a slow machine too: what hangs fails its own test within that,
// and not the whole run at the end of its time.
const pageTime = 2 * time.Minute

const pageSAN = "spiffe://sender.example/dispatcher"

func newPage(t *testing.T, dir, name string, args ...string) *page {
	t.Helper()
	p := preparePage(t)
	p.start(dir, name, args...)
	for p.address == "" { // a server of others says more than that
		if found := listeningAt.FindStringSubmatch(p.line()); found != nil {
			p.address = found[1]
		}
	}
	return p
}

// preparePage makes what a program is told by its environment.
func preparePage(t *testing.T) *page {
	t.Helper()
	ca, err := mint.New("sender's CA")
	require.NoError(t, err)
	key, _, err := newKey(signature.V1)
	require.NoError(t, err)
	chain, private, err := ca.Server("127.0.0.1")
	require.NoError(t, err)
	files := t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(files, name)
		require.NoError(t, os.WriteFile(path, text, 0o600))
		return path
	}
	return &page{t: t, ca: ca, key: key, files: files, within: pageTime, replay: http.StatusNoContent, env: append(
		os.Environ(), "LISTEN=127.0.0.1:0", "CLIENT_SAN="+pageSAN, "WEBHOOK_SECRET="+key.Reveal(),
		"CERT="+write("server.pem", chain), "KEY="+write("server.key", private), "CLIENT_CA="+write("ca.pem", ca.CertificatePEM()),
	)}
}

// start runs a program whose lines are read from then on. It is killed when its time is over, and then there are no lines
// any more, whoever else holds its output.
func (p *page) start(dir, name string, args ...string) {
	p.t.Helper()
	// The process is stopped by hand: a context's end would not wait for its output.
	command := exec.CommandContext(context.WithoutCancel(p.t.Context()), name, args...)
	command.Dir, command.Env, command.Stderr = dir, p.env, os.Stderr
	out, err := command.StdoutPipe()
	require.NoError(p.t, err)
	require.NoError(p.t, command.Start())
	over := time.AfterFunc(p.within, func() {
		_ = command.Process.Kill()
		_ = out.Close()
	})
	p.t.Cleanup(func() {
		over.Stop()
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	p.lines = bufio.NewScanner(out)
}

func (p *page) line() string {
	p.t.Helper()
	require.True(p.t, p.lines.Scan(), "the program ended, or was ended after %s: %v", p.within, p.lines.Err())
	return p.lines.Text()
}

// post sends a request as this client, or as nobody, and returns the status, or 0 if the connection was refused.
func (p *page) post(client string, req *http.Request, alter ...func(*x509.Certificate)) int {
	p.t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(p.ca.Certificate())
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
	if client != "" {
		uri, err := url.Parse(client)
		require.NoError(p.t, err)
		chain, private, err := p.ca.Issue(mint.Leaf{URIs: []*url.URL{uri}, Client: true, Alter: func(template *x509.Certificate) {
			for _, change := range alter {
				change(template)
			}
		}})
		require.NoError(p.t, err)
		pair, err := tls.X509KeyPair(chain, private)
		require.NoError(p.t, err)
		config.Certificates = []tls.Certificate{pair}
	}
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// namedInOne makes a DNS name the only one of a certificate, which looks like two where names are written into a list.
func namedInOne(template *x509.Certificate) {
	const dns = 2
	value, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: dns, Bytes: []byte("a.example, URI:" + pageSAN)}})
	if err != nil {
		panic(err)
	}
	template.URIs = nil
	template.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: value}}
}

func (p *page) request(id string, at time.Time, body string) *http.Request {
	p.t.Helper()
	req, err := signedPost(p.t.Context(), "https://"+p.address+"/hooks", id, at, []byte(body), p.key)
	require.NoError(p.t, err)
	return req
}

func (p *page) exercise() {
	t, now := p.t, time.Now()
	assert.Equal(t, p.nobody, p.post("", p.request("a", now, "{}")), "no certificate")
	for _, name := range []string{"spiffe://enemy.example/dispatcher", pageSAN + "/more", "spiffe://x/URI:" + pageSAN} {
		assert.Equal(t, 495, p.post(name, p.request("a", now, "{}")), name)
	}
	assert.Equal(t, 495, p.post("spiffe://enemy.example/dispatcher", p.request("a", now, "{}"), namedInOne), "one name that reads like two")
	knock := p.request("a", now, "")
	knock.Method = http.MethodOptions
	assert.Equal(t, http.StatusNoContent, p.post(pageSAN, knock))

	forged := p.request("a", now, "{}")
	forged.Header.Set("webhook-id", "b")
	assert.Equal(t, http.StatusUnauthorized, p.post(pageSAN, forged))
	assert.Equal(t, http.StatusUnauthorized, p.post(pageSAN, p.request("a", now.Add(-6*time.Minute), "{}")))
	assert.Equal(t, http.StatusUnauthorized, p.post(pageSAN, p.request("a", now.Add(6*time.Minute), "{}")))
	assert.Contains(t, []int{http.StatusRequestEntityTooLarge, 0}, p.post(pageSAN, p.request("a", now, strings.Repeat("x", 2<<20))))

	for i, id := range []string{"a", "b"} {
		body := `{"customer":"Zoë","n":` + string(rune('0'+i)) + `}`
		for attempt := range 3 {
			want, at := http.StatusNoContent, now.Add(time.Duration(attempt/2)*time.Second) // twice as it was, and once as a retry
			if attempt == 1 {
				want = p.replay
			}
			// Without it there is no line to wait for.
			require.Equal(t, want, p.post(pageSAN, p.request(id, at, body)))
		}
		assert.Equal(t, id+": "+body, p.line(), "processed once, and nothing before it")
	}
}
