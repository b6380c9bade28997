package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/token"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/services/dispatcher"
	"github.com/handfast/handfast/services/handfast/process"
)

// identityKeyVariable holds the master key of stored identities itself, for platforms that hand out secrets as variables.
const identityKeyVariable = "HANDFAST_IDENTITY_KEY"

type dispatcherCommand struct {
	serviceFlags

	ID                      string        `env:"HANDFAST_ID" help:"Name of this dispatcher among the others: 1 to 64 letters, digits, '-' or '_', and unique. Without it, the host's name and a random end." name:"id" placeholder:"NAME"`
	Identity                []string      `env:"HANDFAST_IDENTITY" help:"Client certificate to present, under the name that endpoints use for it: NAME=CERTIFICATE.pem,KEY.pem, or NAME=pkcs11:… for a key in a PKCS#11 token. What changes is read again. Repeat it for several; endpoints that name none use 'default'." placeholder:"NAME=CERT,KEY" sep:";"`
	IdentityKeyFile         string        `env:"HANDFAST_IDENTITY_KEY_FILE" help:"File with the master key that opens stored identities (handfast identity create, import, csr): 32 bytes in hex or base64. The key itself may stand in HANDFAST_IDENTITY_KEY instead. It is another one than the signers' master key." placeholder:"FILE"`
	IdentityKeyKMS          string        `env:"HANDFAST_IDENTITY_KEY_KMS" help:"KMS that has wrapped the master key in --identity-key-file ('handfast key master create'), asked once at the start." name:"identity-key-kms" placeholder:"URL"`
	PreviousIdentityKeyFile []string      `env:"HANDFAST_PREVIOUS_IDENTITY_KEY_FILE" help:"File with a master key that was in use before, and still opens; repeat it for several." placeholder:"FILE"`
	Deployment              string        `default:"handfast" env:"HANDFAST_DEPLOYMENT" help:"Name of all of Handfast on one NATS account; it stands in the source of alerts." placeholder:"NAME"`
	Allow                   []string      `env:"HANDFAST_ALLOW" help:"Range of addresses, as CIDR, that deliveries may reach although it is private; repeat it for several." placeholder:"CIDR"`
	Slots                   int           `default:"4096" env:"HANDFAST_SLOTS" help:"How many deliveries are held at a time, 512 to 65536; each keeps its request in memory." placeholder:"N"`
	Freshness               time.Duration `default:"2m" env:"HANDFAST_FRESHNESS" help:"How old a signature may be when it is sent, 10s to 4m; receivers commonly refuse from 5m on." placeholder:"DURATION"`
	Lease                   time.Duration `default:"10s" env:"HANDFAST_LEASE" help:"How long the other dispatchers count this one in after its last sign of life, 3s to 1m." placeholder:"DURATION"`
	DrainTimeout            time.Duration `default:"20s" env:"HANDFAST_DRAIN_TIMEOUT" help:"How long a stopping dispatcher waits for the answers of receivers, 0s to 5m." placeholder:"DURATION"`
	HTTP                    string        `default:"127.0.0.1:9465" env:"HANDFAST_HTTP" help:"Private address for /healthz, /readyz and /metrics; empty switches it off." name:"http" placeholder:"HOST:PORT"`
}

// Help is the manual.
func (*dispatcherCommand) Help() string {
	return `The dispatcher puts signed requests on connections with mutual TLS, and records what came of each. Any number of
dispatchers run side by side and share the endpoints among them. It holds client certificates and cannot sign.

  handfast dispatcher --server nats://nats:4222 --nats-credentials dispatcher.creds \
    --identity default=/etc/handfast/tls.crt,/etc/handfast/tls.key

A private key may stay in a PKCS#11 token (RFC 7512). The PIN is read from a file or a variable, never from the command
line. Without certificate=/PATH the token's own certificate is used:

  --identity 'default=pkcs11:token=acme;object=web?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin'

Identities that 'handfast identity' has stored need --identity-key-file, the same for every dispatcher. Those given with
--identity win over stored ones of the same name.

GET /ca.pem on the --http address is the bundle of our own authorities, which receivers trust.

Private, loopback and metadata addresses are refused when a connection is made. --allow 10.20.0.0/16 lets one range
through.

It waits for NATS and for the topology for as long as it takes, and says so in its log and at /readyz. SIGTERM lets
attempts under way finish for --drain-timeout, gives everything else back to the other dispatchers, and takes 10 seconds
more than that at most. A second signal ends it at once: what was under way is tried again by another dispatcher after a
minute.`
}

// Problems says everything that is wrong with the flags.
func (c *dispatcherCommand) Problems() []error {
	all := c.problems("handfast-dispatcher", c.HTTP)
	add := func(flag string, err error) {
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				all = append(all, fmt.Errorf("--%s: %s", flag, line))
			}
		}
	}
	if c.ID != "" && !regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`).MatchString(c.ID) {
		all = append(all, fmt.Errorf("--id: %q must be 1 to 64 letters, digits, '-' or '_'", c.ID))
	}
	sources, err := c.identities(context.Background(), mtls.FileOptions{})
	for _, source := range sources {
		if opened, ok := source.(*token.Source); ok {
			opened.Close()
		}
	}
	add("identity", err)
	if _, err := c.keys(); err != nil {
		all = append(all, err)
	}
	if !regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`).MatchString(c.Deployment) {
		all = append(all, fmt.Errorf("--deployment: %q must be 1 to 64 letters, digits, '-' or '_'", c.Deployment))
	}
	_, err = mtls.ParseAddressPolicy(c.Allow)
	add("allow", err)
	if c.Slots < 512 || c.Slots > 65536 {
		all = append(all, fmt.Errorf("--slots: %d is not in 512 to 65536", c.Slots))
	}
	duration := func(flag string, value, least, most time.Duration) {
		if value < least || value > most {
			all = append(all, fmt.Errorf("--%s: %s is not in %s to %s", flag, value, least, most))
		}
	}
	duration("freshness", c.Freshness, 10*time.Second, 4*time.Minute)
	duration("lease", c.Lease, 3*time.Second, time.Minute)
	duration("drain-timeout", c.DrainTimeout, 0, 5*time.Minute)
	return all
}

// keys reads the master keys of stored identities, and leaves those that a KMS has wrapped closed.
func (c *dispatcherCommand) keys() (keyChain, error) {
	if !c.stored() {
		if len(c.PreviousIdentityKeyFile) > 0 || c.IdentityKeyKMS != "" {
			return keyChain{}, errors.New("--identity-key-file: is needed beside --previous-identity-key-file and --identity-key-kms")
		}
		return keyChain{}, nil
	}
	return keySource{
		flag: "identity-key", file: c.IdentityKeyFile, variable: identityKeyVariable, kms: c.IdentityKeyKMS, previous: c.PreviousIdentityKeyFile,
	}.read()
}

// stored tells that a key for stored identities was given.
func (c *dispatcherCommand) stored() bool {
	_, set := os.LookupEnv(identityKeyVariable)
	return set || c.IdentityKeyFile != ""
}

// identitySource is followed as long as the dispatcher works.
type identitySource interface {
	mtls.Source
	Run(ctx context.Context) error
}

// identities reads every identity; the error lists all that cannot be.
func (c *dispatcherCommand) identities(ctx context.Context, options mtls.FileOptions) (map[string]identitySource, error) {
	sources := map[string]identitySource{}
	var problems []error
	secret := strings.Contains(strings.Join(c.Identity, ";"), "pin-value") // and what is not understood may be a part of it
	for _, text := range joinURIs(c.Identity) {
		name, place, ok := strings.Cut(text, "=")
		if !ok || name == "" || place == "" || strings.Contains(name, token.Scheme) {
			problems = append(problems, notAnIdentity(text, secret))
			continue
		}
		if _, twice := sources[name]; twice {
			problems = append(problems, fmt.Errorf("%q is given twice", name))
			continue
		}
		source, err := openIdentity(ctx, name, place, options)
		if err != nil {
			// Both files in one line, so that each still says whose it is.
			problems = append(problems, fmt.Errorf("%q: %s", name, strings.ReplaceAll(err.Error(), "\n", "; ")))
			continue
		}
		sources[name] = source
	}
	if len(c.Identity) == 0 && !c.stored() {
		problems = append(problems, errors.New("is needed, or --identity-key-file for stored identities: a dispatcher without a client certificate can deliver nothing"))
	}
	return sources, errors.Join(problems...)
}

func notAnIdentity(text string, secret bool) error {
	switch {
	case strings.Contains(text, token.Scheme):
		return fmt.Errorf("a PKCS#11 URI without a name before it: it is NAME=%s…", token.Scheme)
	case secret:
		return errors.New("something is not NAME=CERTIFICATE,KEY")
	default:
		return fmt.Errorf("%q is not NAME=CERTIFICATE,KEY", text)
	}
}

// openIdentity opens one, in files or in a token.
func openIdentity(ctx context.Context, name, place string, options mtls.FileOptions) (identitySource, error) {
	if strings.HasPrefix(place, token.Scheme) {
		config, err := token.ParseURI(place)
		if err != nil {
			return nil, err
		}
		return token.Open(ctx, name, config, token.Options{Logger: options.Logger})
	}
	certificate, key, two := strings.Cut(place, ",")
	if !two {
		key = certificate // one file may hold both
	}
	return mtls.WatchFiles(name, certificate, key, options)
}

// joinURIs puts PKCS#11 URIs together again, whose ';' divides identities, too. A
// URI is whole when it has its '?', after which it has no ';' (RFC 7512).
func joinURIs(list []string) []string {
	var whole []string
	for _, part := range list {
		last := len(whole) - 1
		if last >= 0 && strings.Contains(whole[last], "="+token.Scheme) && !strings.Contains(whole[last], "?") {
			whole[last] += ";" + part
			continue
		}
		whole = append(whole, part)
	}
	return whole
}

// Run is the dispatcher until it is asked to stop.
func (c *dispatcherCommand) Run(ctx context.Context, s streams) error {
	addresses, err := mtls.ParseAddressPolicy(c.Allow)
	if err != nil {
		return fmt.Errorf("--allow: %w", err)
	}
	id := c.ID
	if id == "" {
		id = madeID()
	}
	keys, err := c.keys()
	if err != nil {
		return err
	}
	opening := &openingVault{chain: keys}
	sources := map[string]mtls.Source{}
	var running atomic.Pointer[dispatcher.Dispatcher]
	config := dispatcher.Config{
		Deployment: c.Deployment,
		ID:         id, Slots: c.Slots, Freshness: c.Freshness, LeaseTTL: c.Lease, DrainTimeout: max(c.DrainTimeout, time.Millisecond),
		Connections: mtls.Options{Addresses: addresses, UserAgent: "Handfast/" + readBuild().version},
	}
	return service{
		name: "dispatcher", flags: &c.serviceFlags, address: c.HTTP, drain: c.DrainTimeout,
		parts:  stream.DispatcherParts(),
		routes: []process.Route{{Path: "/ca.pem", Handler: bundle(running.Load)}},
		before: func(e environment) error {
			opened, err := c.identities(context.Background(), mtls.FileOptions{Logger: e.logger})
			for name, source := range opened {
				sources[name] = source
				if inToken, ok := source.(*token.Source); ok {
					e.lifecycle.Started("token of identity "+name, func(context.Context) error { inToken.Close(); return nil })
				}
				e.lifecycle.Run("identity "+name, source.Run)
			}
			return err
		},
		start: func(ctx context.Context, e environment) (process.Work, error) {
			vault, err := opening.get(ctx)
			if err != nil {
				return nil, fmt.Errorf("stored identities cannot be presented, and deliveries wait: %w", err)
			}
			d, err := dispatcher.New(ctx, config, dispatcher.Dependencies{
				NATS: e.nats, Identities: sources, Vault: vault, Logger: e.logger,
				TracerProvider: e.telemetry.TracerProvider(), MeterProvider: e.telemetry.MeterProvider(),
			})
			if err != nil {
				return nil, err //nolint:wrapcheck // says what and what to do
			}
			running.Store(d)
			return d, nil
		},
	}.run(ctx, s)
}

// bundle serves the roots that receivers trust. They are public; who may reach the address is the operator's choice.
func bundle(running func() *dispatcher.Dispatcher) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		var roots []byte
		if d := running(); d != nil {
			roots = d.CA()
		}
		if len(roots) == 0 {
			http.Error(w, "there is no authority of ours, or the dispatcher has not read it yet; see `handfast identity ca`", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/x-pem-file")
		w.Header().Set("Cache-Control", "max-age=300")
		_, _ = w.Write(roots) // whoever has gone away misses nothing
	}
}

// madeID is a name that no other dispatcher has, and that tells where it runs.
func madeID() string {
	host, err := os.Hostname()
	if err != nil {
		host = "dispatcher"
	}
	host = regexp.MustCompile(`[^A-Za-z0-9_-]+`).ReplaceAllString(host, "-")
	return strings.Trim(host[:min(len(host), 48)], "-") + "-" + strings.ToLower(rand.Text()[:8])
}
