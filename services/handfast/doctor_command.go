package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/handfast/handfast/pkg/doctor"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/services/handfast/connection"
	"github.com/handfast/handfast/services/handfast/operator"
)

type doctorCommand struct {
	identityKeyFlags
	connection.Flags

	URL        string        `arg:"" help:"The receiver's URL. Or name an endpoint." optional:"" placeholder:"URL"`
	Endpoint   endpointName  `help:"Examine this endpoint: URL, trust, server name and rules come from its document. Needs NATS." placeholder:"TENANT/NAME"`
	Identity   identityFiles `help:"The client identity to present: the name of a stored one, or a name with the PEM files of its certificate (with intermediates) and key. Without it, that of the endpoint." placeholder:"NAME[=CERT,KEY]"`
	Next       identityFiles `help:"A client identity to change to: it is tried as well. Without it, the one to which the endpoint's is being rotated." placeholder:"NAME[=CERT,KEY]"`
	Roots      string        `help:"PEM file with the authorities that may have issued the receiver's certificate; without it, those of the endpoint or of the system." placeholder:"FILE"`
	ServerName string        `help:"Name that the receiver's certificate must carry, where it is not the URL's host." placeholder:"NAME"`
	Timeout    time.Duration `default:"10s" help:"Bound of each connection, from its first packet to its answer." placeholder:"DURATION"`
	JSON       bool          `help:"Print one JSON object." name:"json"`

	flags    doctor.Target      // what the flags say
	document *endpoint.Endpoint // what the endpoint says, nil without one
	stored   identities         // what the endpoint is presented, nil without one
}

// Help is the manual.
func (*doctorCommand) Help() string {
	return `It makes real connections to a receiver - without a certificate, with the current identity, with the next one, and with a
throw-away certificate that carries the current one's name but that nobody issued - and sends an OPTIONS request on each. No
byte of a message is sent, and nothing of ours is shown to a receiver whose certificate is not trusted. Then it tells what
happened, what it means, and what each side must change.

  handfast doctor https://hooks.example.com/in --identity default=client.pem,client.key --roots receiver-ca.pem
  handfast doctor --endpoint acme/orders
  handfast doctor --endpoint acme/orders --identity default=client.pem,client.key --next default-2

Stored identities are opened with the identity key that the dispatchers use. With a URL and files it needs no NATS, and it
goes to any address that you name.

Exit status: 0 healthy; 1 not healthy; 2 could not be tried. The outcome is what a delivery would end in now.`
}

// maxPEM bounds a file of certificates or a key.
const maxPEM = 1 << 20

// Problems says everything that is wrong with the flags, and reads the files that they name.
func (c *doctorCommand) Problems() []error {
	var all []error
	named := c.Endpoint.Name != ""
	switch {
	case c.URL == "" && !named:
		all = append(all, errors.New("name a receiver: its URL, or --endpoint TENANT/NAME"))
	case c.URL != "" && named:
		all = append(all, errors.New("--endpoint: give a URL or an endpoint, not both"))
	case !named:
		all = append(all, c.parseURL()...)
	}
	stored := c.Identity.isStored() || c.Next.isStored()
	if named || stored {
		all = append(all, c.Flags.Problems()...)
	}
	if stored || c.IdentityKeyFile != "" {
		all = append(all, c.problems()...)
	}
	if c.Timeout <= 0 {
		all = append(all, fmt.Errorf("--timeout: %s leaves no time", c.Timeout))
	}
	all = append(all, c.Identity.load("identity", &c.flags.Current)...)
	all = append(all, c.Next.load("next", &c.flags.Next)...)
	c.flags.ServerName = c.ServerName
	if c.Roots != "" {
		roots, err := readCertificates(c.Roots)
		if err != nil {
			all = append(all, fmt.Errorf("--roots: %w", err))
		}
		c.flags.Roots = roots
	}
	return all
}

func (c *doctorCommand) parseURL() []error {
	parsed, err := url.Parse(c.URL)
	if err != nil {
		if broken, ok := errors.AsType[*url.Error](err); ok {
			err = broken.Err // the rest repeats the URL, whose path may be a secret
		}
		return []error{fmt.Errorf("the URL cannot be read: %w", err)}
	}
	c.flags.URL = parsed
	return c.flags.Problems()
}

func readCertificates(name string) (all []*x509.Certificate, err error) {
	text, err := read(name, maxPEM)
	if err != nil {
		return nil, err
	}
	for rest := bytes.TrimSpace(text); len(rest) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		one, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of %s cannot be read: %w", len(all)+1, name, err)
		}
		all = append(all, one)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM", name)
	}
	return all, nil
}

// AfterApply reads the endpoint's document and stored identities while the command line is still being read, so that an
// endpoint that does not exist, or a NATS server that is down, counts as an examination that could not be tried: exit
// status 2.
func (c *doctorCommand) AfterApply(ctx context.Context, s streams) error {
	stored := c.Identity.isStored() || c.Next.isStored()
	if (c.Endpoint.Name == "" && !stored) || len(c.Problems()) > 0 {
		return nil // Problems are told with everything else that is wrong
	}
	return operate(ctx, s, &c.Flags, "doctor", func(o *operator.Operator) error {
		if c.Endpoint.Name != "" {
			held, err := o.Endpoint(ctx, c.Endpoint.Key)
			if err != nil {
				return err //nolint:wrapcheck // says what and what to do
			}
			c.document = held.Endpoint
		}
		if c.file() == "" {
			return nil
		}
		return c.open(ctx, s, o)
	})
}

// target joins what the flags say with what the document says; the flags win.
func (c *doctorCommand) target(ctx context.Context, s streams, stored identities) (doctor.Target, error) {
	t := c.flags
	var pins []string
	policy := mtls.RevocationIgnore
	if e := c.document; e != nil {
		t.URL, pins, policy = e.URL, e.TLS.Trust.Pins, revocationPolicy(e.TLS.Trust.Revocation)
		if t.Roots == nil {
			t.Roots = e.TLS.Trust.Roots
		}
		t.ServerName = cmp.Or(t.ServerName, e.TLS.ServerName)
		if e.TLS.Mutual == endpoint.Requested {
			t.Mutual = mtls.Requested
		}
		if e.TLS.MinVersion != endpoint.TLS12 {
			t.MinVersion = mtls.TLS13
		}
		switch {
		case c.Identity.name == "":
			identity, err := stored.Identity(ctx, e.TLS.Identity)
			if err != nil {
				s.hintf("%v", err)
				break
			}
			t.Current = doctor.Of(identity)
		case c.Identity.name != e.TLS.Identity:
			s.hintf("the endpoint presents identity %q, not %q; this examines what --identity names", e.TLS.Identity, c.Identity.name)
		}
	}
	trust, err := mtls.NewTrust(t.Roots, pins)
	if err != nil {
		return t, err //nolint:wrapcheck // says what already
	}
	t.Trust = trust.WithRevocation(policy)
	return t, nil
}

func revocationPolicy(asked endpoint.Revocation) mtls.RevocationPolicy {
	switch asked {
	case endpoint.RevocationOff:
		return mtls.RevocationIgnore
	case endpoint.RevocationSoft:
		return mtls.RevocationSoft
	case endpoint.RevocationHard:
	}
	return mtls.RevocationHard
}

// Run examines and tells.
func (c *doctorCommand) Run(ctx context.Context, s streams) error {
	if c.stored == nil {
		c.stored = noIdentities{}
	}
	target, err := c.target(ctx, s, c.stored)
	if err != nil {
		return err
	}
	report, err := doctor.Examine(ctx, target, doctor.Options{Timeout: c.Timeout})
	if err != nil {
		return err //nolint:wrapcheck // says what already
	}
	name := target.URL.Host
	if c.document != nil {
		name = c.document.Key().String() + " at " + name
	}
	if c.JSON {
		if err := writeJSON(s.out, report); err != nil {
			return err
		}
	} else {
		s.printf("%s\n\n%s", name, report.Text(min(lineWidth(os.Stdout), widest)))
	}
	switch {
	case report.Healthy:
		return nil
	case report.Outcome == doctor.Delivered:
		return fmt.Errorf("%s is not healthy, although deliveries get through", name)
	}
	return fmt.Errorf("%s is not healthy: %s", name, report.Outcome)
}

// widest is where a line of prose ends, however wide the terminal is.
const widest = 100
