// Package stack writes the configuration by which a receiver accepts Handfast, and nobody else: what `handfast trust`
// prints. One template per stack of the receiver's side, filled with the CA and the exact name of one deployment.
//
//	Input ──▶ check: everything that is missing or wrong, at once ──▶ templates ──▶ Output: files by name
//
// Where a stack can compare a subject alternative name (RFC 5280, section 4.2.1.6) it does so, whole, by itself. Where it
// cannot, three things stand in for that, and the printed comments say which:
//
//	stack                     who may open a connection   exact name
//	envoy                     CA, and the exact SAN       the listener, in the handshake
//	go                        CA, and the exact SAN       the program, in the handshake
//	node, java                CA                          the program, per request
//	caddy                     CA                          the server, per request
//	nginx, haproxy            CA                          the server by the whole subject; the application by SAN
//	aws-alb                   CA                          the application by SAN
//	kubernetes-ingress        CA                          the application by SAN
//
// What this package must never do: write a private key, compare a part of a name, trust a CA that anybody can be
// certified by where the name is not compared as a SAN, leave a placeholder for a value that nobody gave, or put a value
// into a configuration whose characters could mean something there.
package stack
