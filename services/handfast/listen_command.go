package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/services/handfast/connection"
	"github.com/handfast/handfast/services/handfast/listener"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/services/handfast/table"
)

type listenCommand struct {
	masterFlags
	connection.Flags

	Address  string        `default:"127.0.0.1:8443" help:"Where to listen; port 0 picks a free one." placeholder:"HOST:PORT"`
	Dir      string        `default:"./.handfast" env:"HANDFAST_DIR" help:"Directory of 'handfast dev', with its authority." placeholder:"DIR"`
	Client   []string      `default:"spiffe://handfast.local/dispatcher" help:"The name in the certificate of who may call, a URI or a DNS name, compared whole; several, with commas between them, while it changes." placeholder:"NAME"`
	Endpoint endpointName  `help:"Check signatures with the keys of this endpoint." placeholder:"TENANT/NAME"`
	Delay    time.Duration `help:"Wait before each answer." placeholder:"DURATION"`
	Status   []int         `help:"HTTP status to answer; several, with commas between them, are used in turn, the last one for ever. Without it, 200." placeholder:"STATUS"`
	Rate     int           `help:"How many requests per minute to allow to an endpoint with an activation of kind cloudevents; 0 for no limit." placeholder:"N"`
	Refuse   bool          `help:"Do not agree to deliveries of an endpoint with an activation, and do not echo its client id."`
	Write    string        `help:"Also write the endpoint's document to this file." placeholder:"FILE"`
	JSON     bool          `help:"Print one JSON object per delivery on standard output; everything else goes to standard error." name:"json"`
}

// Help is the manual.
func (*listenCommand) Help() string {
	return `It receives webhooks on this machine as a careful receiver does: it has a certificate of the development authority, accepts
only the caller that is named in it, and verifies each signature. It prints the document of an endpoint that leads to it,
and then each handshake and each delivery as it happens.

  handfast listen --endpoint acme/orders --write orders.yaml
  handfast endpoint apply -f orders.yaml

  handfast listen --status 503,503,200 --delay 2s     # two failures, and then all is well, slowly

Endpoints with an activation are agreed to, in both kinds: OPTIONS is answered with the origin that it names, and the client
id of Adobe Sign is echoed in every answer. --rate 120 allows that many requests a minute, and --refuse shows what happens
without consent.`
}

// maxDelay is above the longest timeout of an endpoint.
const maxDelay = 5 * time.Minute

// Problems says everything that is wrong with the flags.
func (c *listenCommand) Problems() []error {
	all := c.Flags.Problems()
	for _, status := range c.Status {
		if status < 200 || status > 599 {
			all = append(all, fmt.Errorf("--status: %d is no final HTTP status; use 200 to 599", status))
		}
	}
	if c.Delay < 0 || c.Delay > maxDelay {
		all = append(all, fmt.Errorf("--delay: %s is not in 0 to %s", c.Delay, maxDelay))
	}
	if c.Rate < 0 {
		all = append(all, fmt.Errorf("--rate: %d is no number of requests per minute; 0 is no limit", c.Rate))
	}
	return all
}

// Run receives until it is asked to stop.
func (c *listenCommand) Run(ctx context.Context, s streams) error {
	options := listener.Options{
		Address: c.Address, Dir: c.Dir, Delay: c.Delay, Statuses: c.Status,
		Clients: c.Client, Refuse: c.Refuse, Rate: c.Rate,
		Asked:   func(words string) { s.hintf("%s  %s", stamp(time.Now()), table.Clean(words)) },
		Show:    func(d listener.Delivery) { c.print(s, d) },
		Shook:   func(h listener.Handshake) { printHandshake(s, h) },
		Trouble: func(words string) { s.hintf("%s  %s", stamp(time.Now()), table.Clean(words)) },
	}
	if c.Endpoint.Name != "" {
		options.Keys = c.keys
	}
	l, err := listener.Open(ctx, options)
	if err != nil {
		return err //nolint:wrapcheck // says what and what to do
	}
	if err := c.introduce(s, l); err != nil {
		_ = l.Close() // nothing was received
		return err
	}
	return l.Serve(ctx) //nolint:wrapcheck // says what already
}

func (c *listenCommand) introduce(s streams, l *listener.Listener) error {
	tenant, name := "acme", "orders"
	if c.Endpoint.Name != "" {
		tenant, name = c.Endpoint.Tenant, c.Endpoint.Name
	}
	document := l.Document(tenant, name)
	s.hintf("listening on https://%s; callers need a certificate of %s/authority.pem with the name %s; Ctrl-C ends it",
		l.Address(), strings.TrimSuffix(c.Dir, "/"), strings.Join(c.Client, " or "))
	if c.Endpoint.Name == "" {
		s.hintf("signatures are not checked; --endpoint TENANT/NAME does that")
	}
	if c.Write != "" {
		if err := os.WriteFile(c.Write, []byte(document), 0o600); err != nil {
			return fmt.Errorf("write the endpoint's document: %w", err)
		}
		s.hintf("its document is in %s: handfast endpoint apply -f %s", c.Write, c.Write)
		return nil
	}
	s.hintf("a document that brings deliveries here, for `handfast endpoint apply -f FILE`:\n\n%s", document)
	return nil
}

// keys reads the endpoint's keys from the running server.
func (c *listenCommand) keys(ctx context.Context) (verifiers []signature.Verifier, err error) {
	vault, err := c.vault(ctx, c.Dir)
	if err != nil {
		return nil, err
	}
	quiet := streams{out: io.Discard, err: io.Discard}
	err = operate(ctx, quiet, &c.Flags, "listen", func(o *operator.Operator) error {
		ring, err := o.Keys(ctx, c.Endpoint.Key, vault)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		for _, k := range ring.Keys() {
			if v, err := k.Verifier(); err == nil { // a revoked one has none
				verifiers = append(verifiers, v)
			}
		}
		return nil
	})
	return verifiers, err
}

func (c *listenCommand) print(s streams, d listener.Delivery) {
	if c.JSON {
		_ = writeJSON(s.out, d) // the terminal is gone, and the delivery has been answered
		return
	}
	kind := d.Type
	if kind == "" {
		kind = "(no event type)"
	}
	repeat := ""
	if d.Count > 1 {
		repeat = " (here for the " + ordinal(d.Count) + " time)"
	}
	s.printf("%s  %s  %s%s\n", stamp(d.At), table.Clean(kind), table.Clean(d.ID), repeat)
	proof := d.Signature
	if d.Key != "" {
		proof += " by " + d.Key
	}
	if d.Reason != "" {
		proof += ": " + d.Reason
	}
	s.printf("  from %s, signature %s\n  answered %d %s after %s\n", table.Clean(d.Client), table.Clean(proof), d.Status, http.StatusText(d.Status), short(d.Took))
	s.printf("  %s\n", excerpt(string(d.Data), 400))
}

func ordinal(n int) string {
	suffix := "th"
	if n%100 < 11 || n%100 > 13 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return strconv.Itoa(n) + suffix
}
