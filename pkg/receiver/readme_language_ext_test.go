package receiver_test

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// installed skips a test whose runtime is not on this machine.
func installed(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not on this machine", program)
		}
	}
}

// TestAProgramThatHangsIsEnded has one that says one line and then nothing, while its child holds its output.
func TestAProgramThatHangsIsEnded(t *testing.T) {
	t.Parallel()
	installed(t, "sh", "sleep")
	p := preparePage(t)
	p.within = 4 * time.Second
	began := time.Now()
	p.start(p.files, "sh", "-c", "echo hello; sleep 60 2>/dev/null; echo never")
	require.Equal(t, "hello", p.line())
	require.False(t, p.lines.Scan(), "it is over")
	require.Less(t, time.Since(began), time.Minute)
}

func TestThePythonPageRuns(t *testing.T) {
	installed(t, "python3")
	newPage(t, "testdata/page", "python3", "receiver.py").exercise()
}

// TestTheRubyPageRuns lets puma end TLS, as the page says.
func TestTheRubyPageRuns(t *testing.T) {
	installed(t, "puma")
	dir, err := filepath.Abs("testdata/page")
	require.NoError(t, err)
	config := filepath.Join(t.TempDir(), "puma.rb")
	require.NoError(t, os.WriteFile(config, []byte(`
host, port = ENV["LISTEN"].split(":")
ssl_bind host, port, cert: ENV["CERT"], key: ENV["KEY"], ca: ENV["CLIENT_CA"], verify_mode: "force_peer"
`), 0o600))
	p := newPage(t, dir, "puma", "-C", config, filepath.Join(dir, "receiver.ru"))
	require.Equal(t, "Use Ctrl-C to stop", p.line())
	p.exercise()
}

// TestThePHPPageRuns has nginx end TLS, and PHP by FastCGI behind it.
func TestThePHPPageRuns(t *testing.T) {
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin") // where Debian puts servers
	installed(t, "php-cgi", "nginx")
	script, err := filepath.Abs("testdata/page/receive.php")
	require.NoError(t, err)
	p := preparePage(t)
	p.env = append(p.env, "SEEN="+t.TempDir())
	port, php := freePort(t), freePort(t)
	config := strings.NewReplacer("DIR", p.files, "PORT", port, "PHP", php, "PAGE", script).Replace(nginxBeforePHP)
	require.NoError(t, os.WriteFile(filepath.Join(p.files, "nginx.conf"), []byte(config), 0o600))
	p.start(p.files, "nginx", "-e", "stderr", "-c", filepath.Join(p.files, "nginx.conf"))
	p.start(p.files, "sh", "-c", "exec php-cgi -b 127.0.0.1:"+php+" 2>&1") // whose lines are those of the script
	for _, one := range []string{port, php} {
		require.Eventually(t, func() bool {
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", "127.0.0.1:"+one)
			if err == nil {
				_ = conn.Close()
			}
			return err == nil
		}, 20*time.Second, 10*time.Millisecond)
	}
	p.address, p.nobody = "127.0.0.1:"+port, http.StatusBadRequest
	p.exercise()
}

// freePort is a port that nobody listens on, for a program that cannot choose one.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

const nginxBeforePHP = `
daemon off;
master_process off;
pid DIR/pid;
error_log stderr crit;
events {}
http {
  access_log off;
  client_body_temp_path DIR/body;
  proxy_temp_path DIR/proxy;
  fastcgi_temp_path DIR/fastcgi;
  scgi_temp_path DIR/scgi;
  uwsgi_temp_path DIR/uwsgi;
  server {
    listen 127.0.0.1:PORT ssl;
    ssl_certificate DIR/server.pem;
    ssl_certificate_key DIR/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_client_certificate DIR/ca.pem;
    ssl_verify_client on;
    location / {
      fastcgi_pass 127.0.0.1:PHP;
      fastcgi_param SCRIPT_FILENAME PAGE;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length;
      fastcgi_param CLIENT_CERT $ssl_client_escaped_cert;
    }
  }
}
`
