package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Readiness says why the process does no work at the moment; nil when it does.
type Readiness func() error

// Handler answers those who watch the process:
//
//	/healthz   200 while the process can answer at all
//	/readyz    200, or 503 with the reason in words
//	/metrics   Prometheus text
//
// and what more the process has to show.
//
// It does no authentication: serve it on a private address.
func Handler(ready Readiness, metrics http.Handler, more ...Route) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			say(w, http.StatusServiceUnavailable, "not ready: "+err.Error())
			return
		}
		say(w, http.StatusOK, "ready")
	})
	mux.Handle("GET /metrics", metrics)
	for _, route := range more {
		mux.Handle("GET "+route.Path, route.Handler)
	}
	return mux
}

// Route is one more thing that a process shows.
type Route struct {
	Path    string
	Handler http.Handler
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // a watcher that has gone away misses nothing
}

// Serve answers HTTP on an address, "host:port", as a part of the lifecycle, and returns the address that it got: port 0
// picks a free one. An empty address serves nothing. The error says what keeps it from listening.
func Serve(ctx context.Context, l *Lifecycle, address string, handler http.Handler, logger *slog.Logger) (string, error) {
	if address == "" {
		return "", nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return "", fmt.Errorf("serve health and metrics: %w; choose another address with --http, or switch it off with --http=", err)
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 1 << 14, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	l.Started("health and metrics", func(ctx context.Context) error {
		closing, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if server.Shutdown(closing) != nil {
			_ = server.Close() // somebody keeps a connection open, which must not keep the process
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return listener.Addr().String(), nil
}
