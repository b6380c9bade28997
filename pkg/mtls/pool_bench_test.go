package mtls_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
)

func benchReceiver(b *testing.B, http2 bool) (*peers, *website) {
	b.Helper()
	p := newPeers(b, true)
	receiver := p.website(p.serverTLS(), readAll, http2)
	return p, receiver
}

func benchDo(b *testing.B, http2 bool) {
	b.Helper()
	p, receiver := benchReceiver(b, http2)
	pool, target, request := p.pool(), p.target(receiver.address), post(1024)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := pool.Do(context.Background(), target, request); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(receiver.accepts.Load()), "handshakes")
}

func BenchmarkDoHTTP1(b *testing.B) { benchDo(b, false) }

func BenchmarkDoHTTP2(b *testing.B) { benchDo(b, true) }

func (p *peers) standardTLS() *tls.Config {
	certificate := p.identity.Certificate()
	return &tls.Config{
		ServerName: receiverName, RootCAs: trusting(p.tb, p.serverCA).RootCAs(), MinVersion: tls.VersionTLS12,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil },
	}
}

// BenchmarkNetHTTP is what net/http's client does with the same receivers.
func BenchmarkNetHTTP(b *testing.B) {
	for _, http2 := range []bool{false, true} {
		b.Run(fmt.Sprintf("HTTP2=%t", http2), func(b *testing.B) {
			p, receiver := benchReceiver(b, http2)
			client := &http.Client{Transport: &http.Transport{
				TLSClientConfig: p.standardTLS(), MaxIdleConnsPerHost: 256, ForceAttemptHTTP2: http2, DisableCompression: true,
			}}
			defer client.CloseIdleConnections()
			body := post(1024).Body
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "https://"+receiver.address+"/", bytes.NewReader(body))
					if err != nil {
						b.Error(err)
						return
					}
					request.Header.Set("Webhook-Id", "msg_1")
					request.Header.Set("Content-Type", "application/json")
					response, err := client.Do(request)
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, response.Body)
					_ = response.Body.Close()
				}
			})
			b.ReportMetric(float64(receiver.accepts.Load()), "handshakes")
		})
	}
}

// BenchmarkHandshake opens a connection for every request; BenchmarkDial is a bare crypto/tls loop with the same request.
func BenchmarkHandshake(b *testing.B) {
	p := newPeers(b, true)
	receiver := p.script(p.serverTLS(), closing)
	pool := p.pool(func(o *mtls.Options) { o.DialLimit = 64 })
	target, request := p.target(receiver.address), post(1024)
	b.ReportAllocs()
	for b.Loop() {
		_, err := pool.Do(context.Background(), target, request)
		require.NoError(b, err)
	}
}

const closes = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

func closing(l *line) {
	if _, _, ok := l.request(); ok {
		l.say(closes)
		l.drain()
	}
}

func BenchmarkDial(b *testing.B) {
	p := newPeers(b, true)
	receiver := p.script(p.serverTLS(), closing)
	config, body := p.standardTLS(), post(1024).Body
	b.ReportAllocs()
	for b.Loop() {
		raw, err := net.Dial("tcp", receiver.address)
		require.NoError(b, err)
		conn := tls.Client(raw, config)
		_, err = fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		require.NoError(b, err)
		_, err = io.ReadFull(conn, make([]byte, len(closes)))
		require.NoError(b, err)
		_ = raw.Close()
	}
}
