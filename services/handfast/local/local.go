package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/seal"
	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/stream/embedded"
	"github.com/handfast/handfast/pkg/telemetry"
	"github.com/handfast/handfast/services/dispatcher"
	"github.com/handfast/handfast/services/handfast/process"
	"github.com/handfast/handfast/services/signer"
)

// Options choose what runs. Dir, Version and Logger are required.
type Options struct {
	// Dir keeps everything.
	Dir string
	// Listen is the loopback address of the embedded NATS server; empty for none.
	Listen   string
	Topology stream.Topology
	// Allow lists address ranges that deliveries may reach although they are private, for example 127.0.0.0/8.
	Allow   []string
	Version string
	Logger  *slog.Logger
	// Processors see the spans of all services.
	Processors []sdktrace.SpanProcessor
}

// Deployment is a running Handfast.
type Deployment struct {
	// CA issues certificates for development receivers; it has issued our identity too.
	CA       *authority.Authority
	Vault    signature.Vault
	Topology stream.Topology
	Broker   *embedded.Server
	NATS     *nats.Conn
	JS       jetstream.JetStream

	options    Options
	identities seal.Vault
	catalogue  *stream.Catalogue
	keyring    *signer.Keyring
	signer     *signer.Signer
	dispatcher *dispatcher.Dispatcher
	metrics    map[string]http.Handler
	lifecycle  process.Lifecycle
}

// Start brings everything up and returns when work is being done. When a part fails, those before it are stopped.
func Start(ctx context.Context, o Options) (*Deployment, error) {
	d := &Deployment{options: o, metrics: map[string]http.Handler{}}
	if err := d.start(ctx); err != nil {
		if stopping := d.Stop(context.WithoutCancel(ctx)); stopping != nil {
			o.Logger.WarnContext(ctx, "could not stop everything after a failed start", slog.Any("error", stopping))
		}
		return nil, err
	}
	return d, nil
}

func (d *Deployment) start(ctx context.Context) error {
	if err := os.MkdirAll(d.options.Dir, 0o700); err != nil {
		return notWritable(d.options.Dir, err)
	}
	release, err := lock(d.options.Dir)
	if err != nil {
		return err
	}
	d.lifecycle.Started("lock", func(context.Context) error { return release() })
	if d.CA, err = openAuthority(d.options.Dir); err != nil {
		return err
	}
	if d.Vault.Current, err = openMasterKey(d.options.Dir, masterKeyFile); err != nil {
		return err
	}
	if d.identities.Current, err = openMasterKey(d.options.Dir, IdentityKeyFile); err != nil {
		return err
	}
	if err := d.startBroker(ctx); err != nil {
		return err
	}
	if err := d.startSigner(ctx); err != nil {
		return err
	}
	return d.startDispatcher(ctx)
}

// notWritable says what to do about a directory that cannot be used.
func notWritable(dir string, err error) error {
	return fmt.Errorf("directory %s cannot be written to; choose another with --dir: %w", dir, err)
}

func (d *Deployment) startBroker(ctx context.Context) (err error) {
	d.Broker, err = embedded.Start(embedded.Options{Dir: filepath.Join(d.options.Dir, "nats"), Listen: d.options.Listen})
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w; another NATS server, or another `handfast dev`, listens there: choose another port with --listen", err)
	}
	if err != nil {
		return err //nolint:wrapcheck // says what and where already
	}
	d.lifecycle.Started("NATS", func(context.Context) error { d.Broker.Stop(); return nil })
	if d.NATS, err = d.connect("handfast"); err != nil {
		return err
	}
	if d.JS, err = jetstream.New(d.NATS); err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	if err := d.options.Topology.Apply(ctx, d.JS); err != nil {
		return err //nolint:wrapcheck // says what and where already
	}
	if d.Topology, err = stream.LoadTopology(ctx, d.JS); err != nil {
		return err //nolint:wrapcheck // says what and where already
	}
	if d.catalogue, err = d.Topology.OpenCatalogue(ctx, d.JS, d.options.Logger); err != nil {
		return err //nolint:wrapcheck // says what and where already
	}
	d.keyring, err = signer.OpenKeyring(ctx, d.JS, d.Topology, d.Vault, d.options.Logger)
	return err //nolint:wrapcheck // says what and where already
}

func (d *Deployment) connect(name string) (*nats.Conn, error) {
	nc, err := stream.Connect(name, "", d.options.Logger, d.Broker.Option())
	if err != nil {
		return nil, err //nolint:wrapcheck // says what and where already
	}
	d.lifecycle.Started("connection of "+name, func(ctx context.Context) error {
		defer nc.Close()
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if err := nc.FlushWithContext(ctx); err != nil {
			return fmt.Errorf("send the last acknowledgements: %w", err)
		}
		return nil
	})
	return nc, nil
}

// Telemetry starts the telemetry of one service; it ends with the deployment.
func (d *Deployment) Telemetry(ctx context.Context, service string) (*telemetry.Telemetry, error) {
	t, err := telemetry.Start(ctx, telemetry.Config{Service: service, Version: d.options.Version, Processors: d.options.Processors}, d.options.Logger)
	if err != nil {
		return nil, fmt.Errorf("telemetry of %s: %w", service, err)
	}
	d.metrics[strings.TrimPrefix(service, "handfast-")] = t.Metrics()
	d.lifecycle.Started("telemetry of "+service, t.Shutdown)
	return t, nil
}

func (d *Deployment) startSigner(ctx context.Context) error {
	t, err := d.Telemetry(ctx, "handfast-signer")
	if err != nil {
		return err
	}
	nc, err := d.connect("signer")
	if err != nil {
		return err
	}
	d.signer, err = signer.New(ctx, signer.Config{Vault: d.Vault}, signer.Dependencies{
		NATS: nc, Logger: d.options.Logger, TracerProvider: t.TracerProvider(), MeterProvider: t.MeterProvider(),
	})
	if err != nil {
		return err //nolint:wrapcheck // says what and where already
	}
	d.lifecycle.Run("signer", d.signer.Run)
	return nil
}

func (d *Deployment) startDispatcher(ctx context.Context) error {
	addresses, err := mtls.ParseAddressPolicy(d.options.Allow)
	if err != nil {
		return fmt.Errorf("allowed addresses: %w", err)
	}
	if err := d.storeIdentity(ctx); err != nil {
		return fmt.Errorf("development identity: %w", err)
	}
	t, err := d.Telemetry(ctx, "handfast-dispatcher")
	if err != nil {
		return err
	}
	nc, err := d.connect("dispatcher")
	if err != nil {
		return err
	}
	config := dispatcher.Config{ID: "local", Connections: mtls.Options{Addresses: addresses, UserAgent: "Handfast/" + d.options.Version}}
	d.dispatcher, err = dispatcher.New(ctx, config, dispatcher.Dependencies{
		NATS: nc, Vault: d.identities, Logger: d.options.Logger,
		TracerProvider: t.TracerProvider(), MeterProvider: t.MeterProvider(),
	})
	if err != nil {
		return err //nolint:wrapcheck // says what and where already
	}
	d.lifecycle.Run("dispatcher", d.dispatcher.Run)
	return nil
}

// stopTime bounds a stop.
const stopTime = 40 * time.Second

// Stop drains the services and ends everything, last in, first out.
func (d *Deployment) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	return d.lifecycle.Stop(ctx)
}

// Ready says what does not work yet; nil when everything does.
func (d *Deployment) Ready() error {
	switch {
	case !d.signer.Ready():
		return errors.New("the signer is not working")
	case !d.dispatcher.Ready():
		return errors.New("the dispatcher is not working")
	}
	return d.signer.Impediment() //nolint:wrapcheck // says what and what to do
}

// Signer is the running signer.
func (d *Deployment) Signer() *signer.Signer { return d.signer }

// Bundle is the roots of our own authorities, in PEM.
func (d *Deployment) Bundle() []byte { return d.dispatcher.CA() }

// Metrics serves what one service measures: "signer" or "dispatcher".
func (d *Deployment) Metrics(service string) http.Handler {
	if handler, ok := d.metrics[service]; ok {
		return handler
	}
	return http.NotFoundHandler()
}

// CheckListen says what is wrong with an address for the embedded NATS server, before anything is started.
func CheckListen(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT, for example 127.0.0.1:4222", address)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("%q is not a loopback address such as 127.0.0.1; this server has no users and must stay on this machine", host)
	}
	return nil
}

// Apply stores an endpoint, waits until it is in force, and returns the verifying side of its keys, for its receiver.
func (d *Deployment) Apply(ctx context.Context, document []byte) ([]signature.Verifier, error) {
	e, err := endpoint.Parse(document)
	if err != nil {
		return nil, err //nolint:wrapcheck // says everything already
	}
	ring, err := d.keyring.Ring(ctx, e.Key(), e.Signature.Schemes)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what and where already
	}
	revision, err := d.catalogue.Apply(ctx, e)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what and where already
	}
	if err := d.signer.Await(ctx, e.Key(), revision); err != nil {
		return nil, err //nolint:wrapcheck // says what and where already
	}
	var verifiers []signature.Verifier
	for _, key := range ring.Keys() {
		if key.Over(time.Now()) {
			continue
		}
		v, err := key.Verifier()
		if err != nil {
			return nil, fmt.Errorf("key %s of %s: %w", key.ID, e.Key(), err)
		}
		verifiers = append(verifiers, v)
	}
	return verifiers, nil
}
