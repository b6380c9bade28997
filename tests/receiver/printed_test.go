package receiver

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/doctor"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/services/handfast/stack"
)

// printed is a stack whose configuration, as `handfast trust` prints it, is run as it stands.
type printed struct {
	name  string
	needs []string
	// alter is what is special about the stack's input.
	alter func(w *world, in *stack.Input)
	// run starts it in the folder of its files.
	run func(t *testing.T, dir, address string) *journal
	// named is how a certificate of the right authority with another name is refused.
	named verdict
	// foreign is how a certificate of another authority is refused.
	foreign verdict
	nobody  string
	// caller is the printed module that compares the name in the application's place, and byApplication how a refusal by
	// it looks from here.
	caller        string
	byApplication verdict
	// proxy: it forwards to an application; otherwise it says itself what it has received.
	proxy bool
}

func printedStacks() []printed {
	certificateRequired := "certificate required"
	wordless := verdict{kind: mtls.ClientCertificateRefused, basis: mtls.Inferred, words: "cut the connection"}
	status := verdict{kind: mtls.ClientCertificateRefused, basis: mtls.Said, words: "HTTP 495"}
	return []printed{
		{
			name: "nginx", needs: []string{"nginx"}, proxy: true, run: printedNginx,
			caller: "caller.mjs", byApplication: status,
			named: page(), foreign: page(), nobody: "No required SSL certificate was sent",
		},
		{
			name: "haproxy", needs: []string{"haproxy"}, proxy: true, named: status, foreign: alerted("unknown certificate authority"), nobody: certificateRequired,
			caller: "caller.mjs", byApplication: status,
			alter: func(w *world, in *stack.Input) { in.Certificate, in.Key = w.file("both.pem"), w.file("both.pem") },
			run: func(t *testing.T, dir, address string) *journal {
				t.Helper()
				return launch(t, dir, false, []string{address}, "haproxy", "-db", "-f", "haproxy.cfg").said
			},
		},
		{
			name: "caddy", needs: []string{"caddy"}, proxy: true, named: status, foreign: alerted("unknown certificate authority"), nobody: certificateRequired,
			run: func(t *testing.T, dir, address string) *journal {
				t.Helper()
				t.Setenv("CADDY_ADMIN", freeAddress(t))
				return launch(t, dir, false, []string{address}, "caddy", "run", "--adapter", "caddyfile", "--config", "Caddyfile").said
			},
		},
		{
			name: "node", needs: []string{"node"}, named: status, foreign: wordless,
			run: func(t *testing.T, dir, address string) *journal {
				t.Helper()
				return launch(t, dir, false, []string{address}, "node", "receiver.mjs").said
			},
		},
		{
			name: "go", needs: []string{"go"}, named: alerted("bad certificate"), foreign: alerted("unknown certificate authority"), nobody: certificateRequired,
			run: func(t *testing.T, dir, address string) *journal {
				t.Helper()
				build := exec.CommandContext(t.Context(), "go", "build", "-o", "receiver", ".")
				build.Dir = dir
				out, err := build.CombinedOutput()
				require.NoError(t, err, "%s", out)
				return launch(t, dir, false, []string{address}, filepath.Join(dir, "receiver")).said
			},
		},
		{
			name: "java", needs: []string{"java", "javac"}, named: status, foreign: wordless,
			run: func(t *testing.T, dir, address string) *journal {
				t.Helper()
				return launch(t, dir, false, []string{address}, "java", "-XX:TieredStopAtLevel=1", "Receiver.java").said
			},
		},
	}
}

// printedNginx puts the printed server block into an http block, as Debian's nginx.conf does.
func printedNginx(t *testing.T, dir, address string) *journal {
	t.Helper()
	whole := strings.NewReplacer("TEMP", t.TempDir(), "FILE", filepath.Join(dir, "handfast.conf")).Replace(`
daemon off;
master_process off;
pid TEMP/pid;
error_log stderr warn;
events {}
http {
  access_log off;
  client_body_temp_path TEMP/body;
  proxy_temp_path TEMP/proxy;
  fastcgi_temp_path TEMP/fastcgi;
  scgi_temp_path TEMP/scgi;
  uwsgi_temp_path TEMP/uwsgi;
  include FILE;
}
`)
	return launch(t, dir, false, []string{address}, "nginx", "-e", "stderr", "-c", written(t, "nginx.conf", whole)).said
}

// TestPrintedConfiguration runs what `handfast trust` prints: it lets in our identity and nobody else, neither a stranger
// nor another name of our own authority.
func TestPrintedConfiguration(t *testing.T) {
	enabled(t)
	w := newWorld(t)
	for _, p := range printedStacks() {
		t.Run(p.name, func(t *testing.T) {
			installed(t, listener{name: p.name, needs: p.needs})
			at, app, _ := p.start(t, w, "")
			p.accepts(t, w, at, app)
			p.refuses(t, w, at, app, otherSAN, p.named)
			p.refuses(t, w, at, app, wrongCA, p.foreign)
			said := withoutCertificate(t, terms{world: w, protocol: http1}, at)
			assert.Contains(t, said, p.nobody)
			assert.NotContains(t, said, "HTTP/1.1 2")
			report := w.examine(t, at, good)
			assert.True(t, report.Healthy, "%+v", report)
			assert.False(t, w.examine(t, at, otherSAN).Healthy, "the doctor sees that the name is not let in")
			assert.Equal(t, doctor.ClientCertificateRefused, w.examine(t, at, otherSAN).Outcome)
		})
	}
}

// start runs the printed configuration. A proxy forwards to upstream, or to an application of this process.
func (p printed) start(t *testing.T, w *world, upstream string) (address string, app application, dir string) {
	t.Helper()
	address, dir = freeAddress(t), t.TempDir()
	in := stack.Input{
		CA: w.clientCA.CertificatePEM(), SAN: identityURI, Host: receiverName, Listen: address,
		Certificate: w.file("server.pem"), Key: w.file("server.key"), CAFile: filepath.Join(w.dir, stack.CAName),
	}
	var behind *backend
	if p.proxy && upstream == "" {
		behind = newBackend(t)
		upstream = behind.address
	}
	in.Upstream = upstream
	if p.alter != nil {
		p.alter(w, &in)
	}
	out, err := stack.Render(p.name, in)
	require.NoError(t, err)
	for name, text := range out.Files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	require.NoError(t, os.WriteFile(w.file(stack.CAName), []byte(out.Files[stack.CAName]), 0o600))
	said := p.run(t, dir, address)
	switch {
	case behind != nil:
		return address, behind, dir
	case p.proxy:
		return address, nil, dir
	default:
		return address, telling{said}, dir
	}
}

func (p printed) accepts(t *testing.T, w *world, at string, app application) {
	t.Helper()
	s := newSender(t)
	defer s.pool.Close()
	for range 3 {
		response, failure := s.deliver(t, w.target(at, good))
		require.Nil(t, failure, "%v", failure)
		require.Less(t, response.Status, 300, "%s", response.Body)
	}
	require.Eventually(t, func() bool {
		requests, body := app.received(t)
		return (requests == 3 || requests == 4) && /* HTTP/2 begins with a request without a body */ body == 3*bodySize
	}, 5*time.Second, 10*time.Millisecond)
}

func (p printed) refuses(t *testing.T, w *world, at string, app application, identity string, want verdict, alter ...func(*mtls.Request)) {
	t.Helper()
	s := newSender(t)
	defer s.pool.Close()
	before, bodyBefore := app.received(t)
	for range times {
		response, failure := s.deliver(t, w.target(at, identity), alter...)
		require.NotNil(t, failure, "%s: %+v", identity, response)
		require.Equal(t, want.kind, failure.Kind, "%v", failure)
		require.Equal(t, want.basis, failure.Basis, "%v", failure)
		require.Contains(t, failure.Detail, want.words)
	}
	requests, body := app.received(t)
	assert.Equal(t, before, requests)
	assert.Equal(t, bodyBefore, body)
}

// telling is a printed program, which says "delivery …, N bytes" for each message that it took.
type telling struct{ said *journal }

func (a telling) received(t *testing.T) (requests, body int64) {
	t.Helper()
	for line := range strings.Lines(a.said.String()) {
		if strings.Contains(line, "delivery") && strings.Contains(line, "msg_1") && strings.Contains(line, "65536") {
			requests++
			body += bodySize
		}
	}
	return requests, body
}
