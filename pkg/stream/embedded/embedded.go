package embedded

import (
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Options choose where the server keeps its data and whether it listens.
type Options struct {
	// Dir holds the streams, on disk. Required.
	Dir string
	// Listen is a loopback host:port for other processes; empty to serve only this one. Port 0 picks a free one.
	Listen string
}

// Server is a running broker.
type Server struct {
	server *server.Server
}

// startTime bounds recovery of the streams on disk.
const startTime = 60 * time.Second

// Start runs the server and returns when it serves.
func Start(o Options) (*Server, error) {
	options := &server.Options{
		ServerName: "handfast", JetStream: true, StoreDir: o.Dir, DontListen: o.Listen == "", NoSigs: true, NoLog: true,
	}
	if o.Listen != "" {
		host, port, err := net.SplitHostPort(o.Listen)
		if err != nil {
			return nil, fmt.Errorf("embedded NATS address %q: %w", o.Listen, err)
		}
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
			return nil, fmt.Errorf("embedded NATS has no users and must stay on a loopback address such as 127.0.0.1; %q is none", host)
		}
		options.Host = host
		if _, err := fmt.Sscanf(port, "%d", &options.Port); err != nil {
			return nil, fmt.Errorf("embedded NATS port %q: %w", port, err)
		}
		if options.Port == 0 {
			options.Port = server.RANDOM_PORT
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
