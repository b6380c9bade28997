package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/telemetry"
	"github.com/handfast/handfast/services/handfast/local"
	"github.com/handfast/handfast/services/handfast/process"
)

type devCommand struct {
	Dir      string   `default:"./.handfast" env:"HANDFAST_DIR" help:"Directory that keeps the streams, the authority and the keys; one at a time may use it." placeholder:"DIR"`
	Listen   string   `default:"127.0.0.1:4222" help:"Loopback address of the NATS server." placeholder:"HOST:PORT"`
	HTTP     string   `default:"127.0.0.1:9464" help:"Loopback address for /healthz, /readyz and /metrics; empty switches it off." name:"http" placeholder:"HOST:PORT"`
	Allow    []string `default:"127.0.0.0/8,::1/128" help:"Range of addresses, as CIDR, that deliveries may reach although it is private; repeat it for several." placeholder:"CIDR"`
	LogLevel string   `default:"info" env:"HANDFAST_LOG_LEVEL" help:"The least level that is logged: debug, info, warn or error." placeholder:"LEVEL"`
}

// Help is the manual.
func (*devCommand) Help() string {
	return `It stays up until Ctrl-C, and goes on where it stopped when it is started again on the same directory. The NATS server
listens on loopback, has no users, and serves the 'nats' command line and any client of yours.

  handfast dev                                                  # first terminal
  handfast listen --endpoint acme/orders --write orders.yaml    # second terminal: a receiver, and the document of its endpoint
  handfast endpoint apply -f orders.yaml                        # third terminal
  handfast event publish --tenant acme --type com.acme.order.created --source /shop --data '{"total":42}' --wait

DIR/authority.pem is the development authority. It issues the client certificate that receivers see, which renews by
itself ('handfast identity list'), and the certificate of 'handfast listen'. Give none of it to anybody: everything in
DIR is a secret of this machine.

To begin again, stop it and remove the directory.`
}

// Problems says everything that is wrong with the flags.
func (c *devCommand) Problems() []error {
	var all []error
	if err := checkAddress(c.HTTP); err != nil {
		all = append(all, fmt.Errorf("--http: %w", err))
	} else if host, _, _ := net.SplitHostPort(c.HTTP); c.HTTP != "" && !loopback(host) {
		all = append(all, fmt.Errorf("--http: %q is not a loopback address such as 127.0.0.1; what it shows must stay on this machine", host))
	}
	if c.Listen == "" {
		all = append(all, errors.New("--listen: is needed, for example 127.0.0.1:4222"))
	} else if err := local.CheckListen(c.Listen); err != nil {
		all = append(all, fmt.Errorf("--listen: %w", err))
	}
	if _, err := mtls.ParseAddressPolicy(c.Allow); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			all = append(all, fmt.Errorf("--allow: %s", line))
		}
	}
	if err := new(slog.Level).UnmarshalText([]byte(c.LogLevel)); err != nil {
		all = append(all, fmt.Errorf("--log-level: %q is unknown; use debug, info, warn or error", c.LogLevel))
	}
	return append(all, telemetryProblems("handfast-dev")...)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// Run keeps everything up until it is asked to stop.
func (c *devCommand) Run(ctx context.Context, s streams) (err error) {
	level := slog.LevelInfo
	_ = level.UnmarshalText([]byte(c.LogLevel)) // checked before
	logger := telemetry.NewLogger(s.err, telemetry.FormatText, level)
	var around process.Lifecycle
	defer func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopping)
		defer cancel()
		err = cmp.Or(err, around.Stop(ending))
	}()
	d, err := local.Start(ctx, local.Options{Dir: c.Dir, Listen: c.Listen, Allow: c.Allow, Version: readBuild().version, Logger: logger})
	if err != nil {
		return err //nolint:wrapcheck // says what and what to do
	}
	defer func() {
		if stop := d.Stop(context.WithoutCancel(ctx)); err == nil {
			err = stop
		}
	}()
	mux := http.NewServeMux()
	mux.Handle("/", process.Handler(d.Ready, http.HandlerFunc(metricsGuide)))
	mux.HandleFunc("GET /ca.pem", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-pem-file")
		_, _ = w.Write(d.Bundle()) // whoever has gone away misses nothing
	})
	for _, route := range keyRoutes(d.Signer) {
		mux.Handle("GET "+route.Path, route.Handler)
	}
	for _, service := range []string{"signer", "dispatcher"} {
		mux.Handle("GET /metrics/"+service, d.Metrics(service))
	}
	address, err := process.Serve(ctx, &around, c.HTTP, mux, logger)
	if err != nil {
		return err //nolint:wrapcheck // says what and what to do
	}
	if _, err := io.WriteString(s.out, c.guide(d.Broker.URL(), address)); err != nil {
		return err //nolint:wrapcheck // a writer's own error
	}
	<-ctx.Done()
	_, err = io.WriteString(s.out, "\nfinishing what has begun; everything else stays in "+c.Dir+"\n")
	return err //nolint:wrapcheck // a writer's own error
}

func metricsGuide(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "two services run here: /metrics/signer and /metrics/dispatcher", http.StatusNotFound)
}

// guide says what runs and how to use it from another terminal.
func (c *devCommand) guide(url, address string) string {
	server, dir := "", ""
	if url != "nats://127.0.0.1:4222" {
		server = " --server " + url
	}
	if filepath.Clean(c.Dir) != ".handfast" {
		dir = " --dir " + c.Dir
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Handfast runs, for development. Ctrl-C stops it; started again, it goes on.\n\n")
	fmt.Fprintf(&b, "  NATS       %s   loopback only, no users\n", url)
	fmt.Fprintf(&b, "  data       %s\n", c.Dir)
	fmt.Fprintf(&b, "  authority  %s\n", filepath.Join(c.Dir, "authority.pem"))
	if address != "" {
		fmt.Fprintf(&b, "  watch      http://%s/readyz, /metrics/signer, /metrics/dispatcher\n", address)
	}
	fmt.Fprintf(&b, "\nIn other terminals:\n\n")
	fmt.Fprintf(&b, "  handfast listen%s%s --endpoint acme/orders --write orders.yaml    # a receiver, and the document of its endpoint\n", dir, server)
	fmt.Fprintf(&b, "  handfast endpoint apply%s -f orders.yaml\n", server)
	fmt.Fprintf(&b, "  handfast event publish%s --tenant acme --type com.acme.order.created --source /shop --data '{\"total\":42}' --wait\n\n", server)
	return b.String()
}
