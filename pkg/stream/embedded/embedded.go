package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Options choose where the server keeps its data and whether it listens.
type Options struct {
	// Dir holds the streams, on disk; it is made when it does not exist. Required. One process at a time.
	Dir string
	// MaxStore bounds the bytes of all streams together; 0 for three quarters of the disk.
	MaxStore int64
	// Listen is a loopback host:port for other processes; empty to serve only this one. Port 0 picks a free one.
	Listen string
}

// Server is a running broker.
type Server struct {
	server *server.Server
}

// startTime bounds recovery of the streams on disk.
const startTime = 60 * time.Second

// Start runs the server and returns when it serves. What would keep it from serving is an error at once: a directory that
// cannot be written to, an address that is not loopback, a port that is in use.
func Start(o Options) (*Server, error) {
	if o.Dir == "" {
		return nil, errors.New("embedded NATS needs a directory for its streams")
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("embedded NATS cannot make its directory: %w", err)
	}
	options := &server.Options{
		ServerName: "handfast", JetStream: true, StoreDir: o.Dir, JetStreamMaxStore: o.MaxStore,
		DontListen: o.Listen == "", NoSigs: true, NoLog: true,
	}
	if o.Listen != "" {
		var err error
		if options.Host, options.Port, err = listenAddress(o.Listen); err != nil {
			return nil, err
		}
	}
	s, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("start embedded NATS in %s: %w", o.Dir, err)
	}
	s.Start()
	if !s.ReadyForConnections(startTime) {
		s.Shutdown()
		return nil, fmt.Errorf("embedded NATS in %s was not ready within %s; is another process using the directory?", o.Dir, startTime)
	}
	return &Server{server: s}, nil
}

// listenAddress checks the address, and that it is free: the server itself would only say that it is not ready.
func listenAddress(address string) (host string, port int, err error) {
	host, number, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("embedded NATS address %q: %w", address, err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return "", 0, fmt.Errorf("embedded NATS has no users and must stay on a loopback address such as 127.0.0.1; %q is none", host)
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("embedded NATS port %q is not a number from 0 to 65535", number)
	}
	probe, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return "", 0, fmt.Errorf("embedded NATS cannot listen: %w", err)
	}
	if err := probe.Close(); err != nil {
		return "", 0, fmt.Errorf("embedded NATS cannot listen: %w", err)
	}
	if n == 0 {
		return host, server.RANDOM_PORT, nil
	}
	return host, int(n), nil
}

// Option lets a client connect without a socket.
func (s *Server) Option() nats.Option { return nats.InProcessServer(s.server) }

// URL is where other processes connect; empty when the server does not listen.
func (s *Server) URL() string {
	if addr := s.server.Addr(); addr != nil {
		return "nats://" + addr.String()
	}
	return ""
}

// Stop ends the server after its streams are on disk.
func (s *Server) Stop() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}
