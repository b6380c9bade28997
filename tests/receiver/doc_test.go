// Package receivers delivers to receivers that others wrote: nginx, haproxy, Caddy, Node, Java, openssl s_server,
// stunnel, and Go's own server. Each runs for real, on loopback, and every way in which mutual TLS goes wrong is tried
// on it, because each tells it differently:
//
//	pool ──mutual TLS──▶ listener ──▶ application (counts requests and body bytes)
//	  │                     │
//	  │     good            └ takes it, and the application sees all of it
//	  │     wrong CA, wrong usage, expired, revoked, none
//	  │                     └ an alert, a page, a cut connection: the application sees not one byte
//	  └──── wrong server name: nothing is sent
//
// The Go receiver runs with every "go test"; the others with HANDFAST_E2E=receivers (task e2e:receivers), and each skips
// itself, with the reason, when its program is missing.
//
// What it must never do: accept a listener's mood as an outcome. A verdict is one kind, every time.
package receiver
