package receiver

import (
	"bufio"
	"io"
	"net/http"
	"testing"
)

// openssl is s_server, the bare minimum of a listener: what it decrypts comes out of it, and what it is told goes in.
// The application is in this process and speaks HTTP through those two pipes.
func openssl() listener {
	return listener{
		name: "openssl", needs: []string{"openssl"}, protocols: []string{http1},
		verdict: opensslAlerts().verdict,
		nobody:  certificateRequired,
		start: func(t *testing.T, on terms) running {
			t.Helper()
			address := freeAddress(t)
			only := "-tls1_3"
			if on.old() {
				only = "-tls1_2"
			}
			p := launch(t, on.dir, true, []string{address}, "openssl", "s_server", "-quiet", "-accept", address, only,
				"-cert", "server.pem", "-key", "server.key", "-Verify", "3", "-verify_return_error",
				"-CAfile", "ca.pem", "-CRL", "crl.pem", "-crl_check")
			app := &backend{}
			go piped(p, app)
			return running{address: address, app: app}
		},
	}
}

// piped answers one request after the other, until the program ends.
func piped(p program, app *backend) {
	in := bufio.NewReader(p.out)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		app.requests.Add(1)
		if r.Header.Get("Expect") != "" {
			_, _ = io.WriteString(p.in, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		n, _ := io.Copy(io.Discard, r.Body)
		app.body.Add(n)
		_, _ = io.WriteString(p.in, "HTTP/1.1 204 No Content\r\n\r\n")
	}
}
