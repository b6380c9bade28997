package receiver

import (
	"crypto/tls"
	"strings"
	"testing"
)

// listeners are those that have to be installed.
func listeners() []listener {
	return []listener{nginx(), haproxy(), caddy(), stunnel(), openssl(), node(), java()}
}

// opensslAlerts are the words of OpenSSL for each fault.
func opensslAlerts() alerts {
	return alerts{
		wrongCA: "unknown certificate authority", wrongUsage: "unsupported certificate",
		expired: "expired certificate", revoked: "revoked certificate",
	}
}

// nginx finishes TLS whatever the certificate, and answers with a page.
func nginx() listener {
	return listener{
		name: "nginx", needs: []string{"nginx"}, protocols: []string{http1, http2},
		verdict: func(string, terms) verdict { return page() },
		nobody:  func(terms) string { return "No required SSL certificate was sent" },
		start:   func(t *testing.T, on terms) running { return startNginx(t, on, nginxConfiguration) },
	}
}

func startNginx(t *testing.T, on terms, configuration string) running {
	t.Helper()
	address, app := freeAddress(t), newBackend(t)
	offer := "ssl"
	if on.protocol == http2 {
		offer = "ssl http2"
	}
	text := fill(on, configuration, "LISTEN", address, "OFFER", offer, "VERSION", on.tls("TLSv"), "APP", app.address, "TEMP", t.TempDir())
	launch(t, on.dir, false, []string{address}, "nginx", "-e", "stderr", "-c", written(t, "nginx.conf", text))
	return running{address: address, app: app}
}

const nginxConfiguration = `
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
  server {
    listen LISTEN OFFER;
    server_name receiver.test;
    ssl_certificate DIR/server.pem;
    ssl_certificate_key DIR/server.key;
    ssl_protocols VERSION;
    ssl_client_certificate DIR/ca.pem;
    ssl_crl DIR/crl.pem;
    ssl_verify_client on;
    location / { proxy_pass http://APP; }
  }
}
`

// haproxy judges inside the handshake, by OpenSSL.
func haproxy() listener {
	return listener{
		name: "haproxy", needs: []string{"haproxy"}, protocols: []string{http1, http2},
		verdict: opensslAlerts().verdict,
		nobody:  certificateRequired,
		start:   func(t *testing.T, on terms) running { return startHaproxy(t, on, haproxyConfiguration) },
	}
}

func startHaproxy(t *testing.T, on terms, configuration string) running {
	t.Helper()
	address, app := freeAddress(t), newBackend(t)
	text := fill(on, configuration, "LISTEN", address, "ALPN", on.protocol, "VERSION", on.tls("TLSv"), "APP", app.address)
	launch(t, on.dir, false, []string{address}, "haproxy", "-db", "-f", written(t, "haproxy.cfg", text))
	return running{address: address, app: app}
}

const haproxyConfiguration = `
global
  maxconn 200
defaults
  mode http
  timeout connect 5s
  timeout client 20s
  timeout server 20s
frontend webhooks
  bind LISTEN ssl crt DIR/both.pem ca-file DIR/ca.pem crl-file DIR/crl.pem verify required ssl-min-ver VERSION ssl-max-ver VERSION alpn ALPN
  default_backend application
backend application
  server application APP
`

// caddy is Go's TLS with its own rules around it. It looks at no revocation list.
func caddy() listener {
	return listener{
		name: "caddy", needs: []string{"caddy"}, protocols: []string{http1, http2},
		verdict: func(identity string, on terms) verdict {
			if identity == revoked {
				return delivered()
			}
			return alerts{wrongCA: "unknown certificate authority", wrongUsage: "bad certificate", expired: "expired certificate"}.verdict(identity, on)
		},
		nobody: certificateRequired,
		start:  func(t *testing.T, on terms) running { return startCaddy(t, on, caddyConfiguration) },
	}
}

func startCaddy(t *testing.T, on terms, configuration string) running {
	t.Helper()
	address, app := freeAddress(t), newBackend(t)
	protocols := "h1"
	if on.protocol == http2 {
		protocols = "h1 h2"
	}
	text := fill(on, configuration, "PORT", portOf(t, address), "PROTOCOLS", protocols, "RANGE", on.tls("tls")+" "+on.tls("tls"), "APP", app.address)
	launch(t, on.dir, false, []string{address}, "caddy", "run", "--adapter", "caddyfile", "--config", written(t, "Caddyfile", text))
	return running{address: address, app: app}
}

const caddyConfiguration = `
{
	admin off
	auto_https off
	persist_config off
	default_sni receiver.test
	fallback_sni receiver.test
	servers {
		protocols PROTOCOLS
	}
}
https://receiver.test:PORT {
	bind 127.0.0.1
	tls DIR/server.pem DIR/server.key {
		protocols RANGE
		client_auth {
			mode require_and_verify
			trust_pool file DIR/ca.pem
		}
	}
	reverse_proxy APP
}
`

// stunnel passes on what comes out of TLS, and knows no HTTP.
func stunnel() listener {
	return listener{
		name: "stunnel", needs: []string{"stunnel"}, protocols: []string{http1},
		verdict: opensslAlerts().verdict,
		nobody:  certificateRequired,
		start: func(t *testing.T, on terms) running {
			t.Helper()
			address, app := freeAddress(t), newBackend(t)
			text := fill(on, stunnelConfiguration, "LISTEN", address, "VERSION", on.tls("TLSv"), "APP", app.address)
			launch(t, on.dir, false, []string{address}, "stunnel", written(t, "stunnel.conf", text))
			return running{address: address, app: app}
		},
	}
}

const stunnelConfiguration = `
foreground = yes
pid =
debug = err
[webhooks]
accept = LISTEN
connect = APP
cert = DIR/server.pem
key = DIR/server.key
CAfile = DIR/ca.pem
CRLfile = DIR/crl.pem
verifyChain = yes
requireCert = yes
sslVersionMin = VERSION
sslVersionMax = VERSION
`

// fill puts words in the place of names; DIR is always the folder with keys and certificates.
func fill(on terms, text string, pairs ...string) string {
	return strings.NewReplacer(append(pairs, "DIR", on.dir)...).Replace(text)
}

// old tells TLS 1.2 from 1.3.
func (t terms) old() bool { return t.version == tls.VersionTLS12 }
