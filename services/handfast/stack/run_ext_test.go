package stack_test

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls/authority"
)

// exercise calls as Handfast and as everybody else. bySubject tells that the server sees the subject only.
func (s *site) exercise(t *testing.T, bySubject bool) {
	t.Helper()
	good := leaf(t, s.ca, san, san)
	other, err := authority.New("deployment") // of the same name, with another key
	require.NoError(t, err)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		only := func(_ *http.Request, c *tls.Config) { c.MinVersion, c.MaxVersion = version, version }
		response, err := s.call(t, good, http.MethodPost, []byte(`{"id":"1"}`), only)
		require.NoError(t, err, tls.VersionName(version))
		assert.Equal(t, http.StatusNoContent, response.StatusCode)
		s.takes(t, `{"id":"1"}`)

		strangers := map[string]*tls.Certificate{
			"no certificate":         nil,
			"another CA":             leaf(t, other, san, san),
			"another name":           leaf(t, s.ca, "spiffe://example.com/other", "spiffe://example.com/other"),
			"a longer name":          leaf(t, s.ca, san+"-staging", san+"-staging"),
			"the name in a path":     leaf(t, s.ca, "x/CN="+san, "spiffe://other/"+san),
			"the name in capitals":   leaf(t, s.ca, strings.ToUpper(san), "SPIFFE://EXAMPLE.COM/HANDFAST"),
			"the name behind commas": leaf(t, s.ca, "x,CN="+san, "spiffe://other/,URI:"+san),
			"no name at all":         leaf(t, s.ca, "nobody"),
		}
		if !bySubject {
			strangers["the name in the subject only"] = leaf(t, s.ca, san, "spiffe://example.com/other")
		}
		for name, certificate := range strangers {
			response, err := s.call(t, certificate, http.MethodPost, []byte(`{"id":"2"}`), only)
			if err == nil {
				text, _ := io.ReadAll(response.Body)
				assert.Contains(t, []int{http.StatusBadRequest, 495}, response.StatusCode, "%s on %s: %s", name, tls.VersionName(version), text)
			}
		}
		assert.Empty(t, s.seen, "nothing of it came through")
	}
	_, err = s.call(t, good, http.MethodPost, nil, func(_ *http.Request, c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })
	require.Error(t, err, "TLS 1.1")
	response, err := s.call(t, good, http.MethodGet, nil, nil)
	require.NoError(t, err)
	assert.Contains(t, []int{http.StatusMethodNotAllowed, http.StatusForbidden}, response.StatusCode)
	response, err = s.call(t, good, http.MethodPost, make([]byte, 1<<20+1), func(r *http.Request, _ *tls.Config) { r.Header.Set("Expect", "100-continue") })
	require.NoError(t, err)
	assert.Equal(t, http.StatusRequestEntityTooLarge, response.StatusCode)
	assert.Empty(t, s.seen)
	response, err = s.call(t, good, http.MethodOptions, nil, nil)
	require.NoError(t, err)
	assert.Equal(t, http.StatusNoContent, response.StatusCode, "doctor asks by OPTIONS")
	s.takes(t, "")
}

// takes makes sure that an application behind a proxy got the body. A program has none behind it.
func (s *site) takes(t *testing.T, body string) {
	t.Helper()
	if s.in.Upstream == "" {
		return
	}
	r := <-s.seen
	text, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	assert.Equal(t, body, string(text))
}

// strips makes sure that nobody can put words into the proxy's mouth.
func (s *site) strips(t *testing.T, own string) string {
	t.Helper()
	forged := []string{
		"Client-Cert", "Client-Cert-Chain", "X-Forwarded-Client-Cert", "X-SSL-Client-Cert", "X-SSL-Client-Verify", "SSL-Client-Cert", "SSL-Client-Verify",
		"X-Client-Cert", "X-Amzn-Mtls-Clientcert-Leaf", "X-Forwarded-Tls-Client-Cert", "X-Arr-Clientcert",
	}
	_, err := s.call(t, leaf(t, s.ca, san, san), http.MethodPost, []byte("{}"), func(r *http.Request, _ *tls.Config) {
		for _, name := range forged {
			r.Header.Set(name, "forged")
			r.Header.Add(name, "forged again")
		}
		r.Header.Set(strings.ReplaceAll(own, "-", "_"), "forged")
	})
	require.NoError(t, err)
	r := <-s.seen
	for name, values := range r.Header {
		assert.NotContains(t, strings.Join(values, " "), "forged", name)
	}
	values := r.Header.Values(own)
	require.Len(t, values, 1)
	return values[0]
}

func TestNginx(t *testing.T) {
	nginx := program(t, "nginx")
	s := newSite(t, "nginx", true)
	s.write(t, "nginx.conf", fmt.Sprintf(`pid %[1]s/pid; error_log stderr; daemon off; master_process off; worker_processes 1;
events { worker_connections 64; }
http { access_log off; client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
include %[1]s/handfast.conf; }`, s.folder))
	out, err := exec.CommandContext(t.Context(), nginx, "-t", "-e", "stderr", "-c", s.path("nginx.conf")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.NotContains(t, string(out), "[warn]")
	s.run(t, nginx, "-e", "stderr", "-c", s.path("nginx.conf"))
	s.exercise(t, true)
	passed, err := url.PathUnescape(s.strips(t, "X-SSL-Client-Cert"))
	require.NoError(t, err)
	block, _ := pem.Decode([]byte(passed))
	require.NotNil(t, block, passed)
}

func TestHAProxy(t *testing.T) {
	haproxy := program(t, "haproxy")
	s := newSite(t, "haproxy", true)
	out, err := exec.CommandContext(t.Context(), haproxy, "-c", "-f", s.path("haproxy.cfg")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.NotContains(t, string(out), "WARNING")
	s.run(t, haproxy, "-db", "-f", s.path("haproxy.cfg"))
	s.exercise(t, true)
	rfc9440(t, s.strips(t, "Client-Cert"))
}

func TestCaddy(t *testing.T) {
	caddy := program(t, "caddy")
	t.Setenv("CADDY_ADMIN", free(t))
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	s := newSite(t, "caddy", true)
	out, err := exec.CommandContext(t.Context(), caddy, "validate", "--adapter", "caddyfile", "--config", s.path("Caddyfile")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	s.run(t, caddy, "run", "--adapter", "caddyfile", "--config", s.path("Caddyfile"))
	s.exercise(t, false)
	rfc9440(t, s.strips(t, "Client-Cert"))
}

func rfc9440(t *testing.T, value string) {
	t.Helper()
	require.Greater(t, len(value), 2)
	der, err := base64.StdEncoding.DecodeString(value[1 : len(value)-1])
	require.NoError(t, err, value)
	assert.Equal(t, ":"+base64.StdEncoding.EncodeToString(der)+":", value)
}

func TestNode(t *testing.T) {
	node := program(t, "node")
	s := newSite(t, "node", false)
	s.run(t, node, "receiver.mjs")
	s.exercise(t, false)
}

func TestJava(t *testing.T) {
	java := program(t, "java")
	if _, err := exec.LookPath("javac"); err != nil {
		t.Skip("there is no Java compiler")
	}
	s := newSite(t, "java", false)
	s.run(t, java, "Receiver.java")
	s.exercise(t, false)
}

func TestGo(t *testing.T) {
	s := newSite(t, "go", false)
	for _, arguments := range [][]string{{"vet", "."}, {"build", "-o", "receiver", "."}} {
		command := exec.CommandContext(t.Context(), "go", arguments...)
		command.Dir = s.folder
		out, err := command.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	s.run(t, s.path("receiver"))
	s.exercise(t, false)
}

// The check in the application's place, for each way in which a certificate is handed on.
func TestCaller(t *testing.T) {
	node := program(t, "node")
	ca, err := authority.New("deployment")
	require.NoError(t, err)
	for name, encode := range map[string]func([]byte) string{
		"haproxy": func(der []byte) string { return ":" + base64.StdEncoding.EncodeToString(der) + ":" },
		"nginx":   escaped,
		"aws-alb": func(der []byte) string {
			return strings.NewReplacer("%2B", "+", "%2F", "/", "%3D", "=").Replace(escaped(der))
		},
		"kubernetes-ingress": escaped,
	} {
		t.Run(name, func(t *testing.T) {
			out := render(t, name)
			s := &site{folder: t.TempDir()}
			s.write(t, "caller.mjs", out.Files["caller.mjs"])
			good := encode(leaf(t, ca, san, san).Certificate[0])
			header := map[string]string{"haproxy": "client-cert", "nginx": "x-ssl-client-cert", "aws-alb": "x-amzn-mtls-clientcert-leaf", "kubernetes-ingress": "ssl-client-cert"}[name]
			cases := []any{
				map[string]string{header: good},
				map[string]string{header: encode(leaf(t, ca, "x", "spiffe://example.com/a", san).Certificate[0])},
				map[string]string{},
				map[string]string{header: ""},
				map[string]string{header: "x"},
				map[string]string{header: good + ", " + good},
				map[string]string{"x-other": good},
				map[string]string{header: encode(leaf(t, ca, san, "spiffe://example.com/other").Certificate[0])},
				map[string]string{header: encode(leaf(t, ca, san, san+"-staging").Certificate[0])},
				map[string]string{header: encode(leaf(t, ca, san, "spiffe://other/, URI:"+san+", x").Certificate[0])},
				map[string]string{header: encode(leaf(t, ca, san).Certificate[0])},
				map[string][]string{header: {good}},
			}
			text, err := json.Marshal(cases)
			require.NoError(t, err)
			s.write(t, "try.mjs", `import { isHandfast } from "./caller.mjs";
const cases = `+string(text)+`;
console.log(JSON.stringify([...cases.map((headers) => isHandfast(headers)), isHandfast(cases[0], new Date("2020-01-01")), isHandfast(cases[0], new Date("2100-01-01"))]));`)
			command := exec.CommandContext(t.Context(), node, "try.mjs")
			command.Dir = s.folder
			printed, err := command.CombinedOutput()
			require.NoError(t, err, "%s", printed)
			var got []bool
			require.NoError(t, json.Unmarshal(bytes.TrimSpace(printed), &got), "%s", printed)
			want := make([]bool, len(cases)+2)
			want[0], want[1] = true, true
			assert.Equal(t, want, got)
		})
	}
}

// escaped is percent-encoded PEM.
func escaped(der []byte) string {
	return strings.ReplaceAll(url.QueryEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))), "+", "%20")
}
