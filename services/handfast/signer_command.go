package main

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/services/handfast/custody"
	"github.com/handfast/handfast/services/handfast/process"
	"github.com/handfast/handfast/services/signer"
)

// masterKeyVariable holds the master key itself, for platforms that hand out secrets as variables.
const masterKeyVariable = "HANDFAST_MASTER_KEY"

type signerCommand struct {
	serviceFlags

	MasterKeyFile         string   `env:"HANDFAST_MASTER_KEY_FILE" help:"File with the master key that seals the signing keys: 32 bytes as hexadecimal or base64, readable by its owner only. The key itself may stand in HANDFAST_MASTER_KEY instead." placeholder:"FILE"`
	MasterKeyKMS          string   `env:"HANDFAST_MASTER_KEY_KMS" help:"KMS that has wrapped the master key ('handfast key master create'), asked once at the start: awskms://…, gcpkms://…, azurekeyvault://… or hashivault://…" name:"master-key-kms" placeholder:"URL"`
	PreviousMasterKeyFile []string `env:"HANDFAST_PREVIOUS_MASTER_KEY_FILE" help:"File with a master key of before, which only opens; repeat it for several." placeholder:"FILE"`
	TokenModule           []string `env:"HANDFAST_TOKEN_MODULE" help:"PKCS#11 library that may be loaded for signing keys that stay in tokens, by its absolute path; repeat it for several. Others are not loaded." placeholder:"FILE"`
	Concurrency           int      `default:"256" env:"HANDFAST_CONCURRENCY" help:"How many events and retries are worked on at a time, 1 to 4096." placeholder:"N"`
	HTTP                  string   `default:"127.0.0.1:9464" env:"HANDFAST_HTTP" help:"Private address for /healthz, /readyz and /metrics, and for what receivers may read: /.well-known/jwks.json, /keys/ and /schemas/. Empty switches it off." name:"http" placeholder:"HOST:PORT"`
}

// Help is the manual.
func (*signerCommand) Help() string {
	return `The signer takes events from NATS, finds the endpoints that want them, signs a request for each, and hands the
requests to the dispatchers. Any number of signers run side by side. It holds signing keys and never talks to
receivers.

  handfast topology apply                      once, with an operator's credentials
  openssl rand -hex 32 > master.key && chmod 600 master.key
  handfast signer --server nats://nats:4222 --nats-credentials signer.creds --master-key-file master.key

All signers, and 'handfast key', need the same master key. 'handfast key reseal --help' tells how it is changed. With
--master-key-kms the file holds it wrapped, and a KMS opens it when the signer starts; until then it waits and signs nothing.

It waits for NATS and for the topology for as long as it takes, and says so in its log and at /readyz. SIGTERM lets it
finish what it has begun, for 40 seconds at most; what is not finished then is done by another signer. A second signal
ends it at once, and loses nothing either.`
}

// signerDrain is what the signer itself may take to end: one piece of work.
const signerDrain = 30 * time.Second

// Problems says everything that is wrong with the flags.
func (c *signerCommand) Problems() []error {
	all := c.problems("handfast-signer", c.HTTP)
	if _, err := c.keys(); err != nil {
		all = append(all, err)
	}
	for _, module := range c.TokenModule {
		if err := custody.CheckModule(module); err != nil {
			all = append(all, fmt.Errorf("--token-module: %w", err))
		}
	}
	if c.Concurrency < 1 || c.Concurrency > 4096 {
		all = append(all, fmt.Errorf("--concurrency: %d is not in 1 to 4096", c.Concurrency))
	}
	return all
}

// keys reads every master key, and leaves those that a KMS has wrapped closed.
func (c *signerCommand) keys() (keyChain, error) {
	return keySource{
		flag: "master-key", file: c.MasterKeyFile, variable: masterKeyVariable, kms: c.MasterKeyKMS, previous: c.PreviousMasterKeyFile,
	}.read()
}

// Run is the signer until it is asked to stop.
func (c *signerCommand) Run(ctx context.Context, s streams) error {
	keys, err := c.keys()
	if err != nil {
		return err
	}
	opening := &openingVault{chain: keys}
	var tokens *custody.Tokens
	var running atomic.Pointer[signer.Signer]
	return service{
		name: "signer", flags: &c.serviceFlags, address: c.HTTP, drain: signerDrain,
		parts:  stream.SignerParts(),
		routes: keyRoutes(running.Load),
		before: func(e environment) error {
			tokens = custody.New(c.TokenModule, e.logger)
			e.lifecycle.Started("tokens of signing keys", func(context.Context) error { tokens.Close(); return nil })
			return nil
		},
		start: func(ctx context.Context, e environment) (process.Work, error) {
			vault, err := opening.get(ctx)
			if err != nil {
				return nil, fmt.Errorf("nothing is signed, and deliveries wait: %w", err)
			}
			config := signer.Config{Concurrency: c.Concurrency, Vault: signature.Vault(vault), Custody: tokens}
			made, err := signer.New(ctx, config, signer.Dependencies{
				NATS: e.nats, Logger: e.logger, TracerProvider: e.telemetry.TracerProvider(), MeterProvider: e.telemetry.MeterProvider(),
			})
			if err != nil {
				return nil, err //nolint:wrapcheck // says what and what to do
			}
			running.Store(made)
			return made, nil
		},
	}.run(ctx, s)
}

// keyRoutes show the public keys of a signer that may not run yet. They are public; who may reach the address is the
// operator's choice.
func keyRoutes(running func() *signer.Signer) []process.Route {
	of := func(serve func(*signer.Signer, http.ResponseWriter, *http.Request)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			made := running()
			if made == nil {
				w.Header().Set("Retry-After", "1")
				http.Error(w, "the signer has not started yet", http.StatusServiceUnavailable)
				return
			}
			serve(made, w, r)
		})
	}
	return []process.Route{
		{Path: "/.well-known/jwks.json", Handler: of((*signer.Signer).ServeJWKS)},
		{Path: "/keys/{tenant}/{endpoint}", Handler: of((*signer.Signer).ServeKeys)},
		{Path: "/schemas/{tenant}/{type}/{version}", Handler: of((*signer.Signer).ServeSchema)},
	}
}
