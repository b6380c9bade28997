package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/services/handfast/connection"
	"github.com/handfast/handfast/services/handfast/local"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/services/handfast/stack"
)

// deployment is what receivers have to know about the Handfast that calls them.
type deployment interface {
	// CA is the certificate that issues its client certificates, as PEM. What else stands beside it does not come out.
	CA(ctx context.Context) ([]byte, error)
	// SAN is the name in its client certificate.
	SAN(ctx context.Context) (string, error)
	// Subject is the whole subject of that certificate (RFC 4514); empty for CN= and the name.
	Subject(ctx context.Context) (string, error)
}

type trustCommand struct {
	connection.Flags

	Stack string `arg:"" enum:"nginx,caddy,haproxy,envoy,node,go,java,aws-alb,kubernetes-ingress" help:"What the receiver runs: ${enum}." placeholder:"STACK"`

	Host        string `help:"The receiver's own name, as in its URL." placeholder:"NAME"`
	Upstream    string `help:"Where the application listens, behind a proxy; for kubernetes-ingress SERVICE:PORT." placeholder:"HOST:PORT"`
	Listen      string `help:"Where to listen; without it :443, and :8443 for node, go and java." placeholder:"ADDRESS:PORT"`
	Certificate string `help:"Path of the receiver's own certificate on its machine; without it /etc/handfast/receiver.pem." placeholder:"PATH"`
	Key         string `help:"Path of the key of that certificate; without it /etc/handfast/receiver.key." placeholder:"PATH"`

	Identity  string `help:"The stored identity that the receiver's endpoint is presented, as its document names it; without it, default." placeholder:"NAME"`
	CA        string `help:"Certificate of the CA that issues Handfast's client certificates, as PEM; without it, our own authorities ('handfast identity ca')." name:"ca" placeholder:"FILE"`
	SAN       string `help:"The name in Handfast's client certificate, a URI or a DNS name; without it, that of the identity." name:"san" placeholder:"NAME"`
	Subject   string `help:"The whole subject of that certificate, for nginx and haproxy, which see no SAN; without it that of the identity, or CN= and the name." placeholder:"SUBJECT"`
	CAPath    string `help:"Path of the CA on the receiver's machine; without it /etc/handfast/ca.pem, or with --out its place there." name:"ca-path" placeholder:"PATH"`
	Namespace string `help:"Namespace of the Ingress; without it, default." placeholder:"NAME"`

	Dir  string `default:"./.handfast" env:"HANDFAST_DIR" help:"Directory of 'handfast dev', whose authority is used when no NATS server can be reached." placeholder:"DIR"`
	Out  string `help:"Write the files into this directory instead of standard output. Files that are there and differ stay." placeholder:"DIR"`
	JSON bool   `help:"Print one JSON object with all files." name:"json"`
}

// Help is the manual.
func (*trustCommand) Help() string {
	return `It prints what the owner of a receiver needs: the configuration of their server, the CA, the steps, and where the server
itself cannot compare the exact name in our certificate, a file that does so in the application. Comments say what each
line is for, and what is checked where.

  handfast trust nginx --host hooks.example.com --upstream 127.0.0.1:8080
  handfast trust nginx --ca ca.pem --san spiffe://example.com/handfast --host hooks.example.com --upstream 127.0.0.1:8080
  handfast trust go --host localhost --out receiver

CA and name are those of the stored identity, for which it asks NATS; with --ca and --san it needs none.

Afterwards 'handfast doctor URL' shows whether it works, and whether somebody else is refused.`
}

// Problems says what contradicts itself.
func (c *trustCommand) Problems() []error {
	var all []error
	if c.JSON && c.Out != "" {
		all = append(all, errors.New("--json: prints, and --out writes files; choose one of them"))
	}
	if err := identity.CheckName(c.Identity); c.Identity != "" && err != nil {
		all = append(all, fmt.Errorf("--identity: %w", err))
	}
	if c.CA == "" {
		all = append(all, c.Flags.Problems()...)
	} else if c.Identity != "" {
		all = append(all, errors.New("--identity: says whose CA is meant, and so does --ca; choose one of them"))
	}
	return all
}

// Run renders, and prints or writes.
func (c *trustCommand) Run(ctx context.Context, s streams) error {
	var out stack.Output
	err := c.ask(ctx, s, func(d deployment) (err error) {
		out, err = c.render(ctx, d)
		return err
	})
	if err != nil {
		return err
	}
	for _, warning := range out.Warnings {
		s.hintf("note: %s", warning)
	}
	switch {
	case c.JSON:
		return writeJSON(s.out, map[string]any{"stack": c.Stack, "configuration": out.Config, "files": out.Files})
	case c.Out != "":
		return c.write(s, out)
	}
	for _, name := range out.Order() {
		s.printf("-- %s --\n%s", name, out.Files[name])
	}
	return nil
}

// ask finds the deployment that receivers shall trust. With --ca it is not asked for anything.
func (c *trustCommand) ask(ctx context.Context, s streams, do func(deployment) error) error {
	if c.CA != "" {
		return do(development{dir: c.Dir})
	}
	session, err := c.Dial(ctx, "trust")
	if err != nil {
		if c.Identity != "" {
			return err //nolint:wrapcheck // says what and what to do
		}
		s.hintf("note: what is stored is not known (%v); this is about the deployment of `handfast dev` in %s", err, c.Dir)
		return do(development{dir: c.Dir})
	}
	defer session.Close()
	w, err := operator.New(session.JS, session.Topology).Wallet(ctx)
	if err != nil {
		return session.Explain(err) //nolint:wrapcheck // says what already
	}
	return session.Explain(do(stored{wallet: w, name: cmp.Or(c.Identity, "default"), tell: s.hintf})) //nolint:wrapcheck // says what already
}

// render tells what could not be had together with everything else that is wrong.
func (c *trustCommand) render(ctx context.Context, d deployment) (stack.Output, error) {
	in, problems := c.input(ctx, d)
	out, err := stack.Render(c.Stack, in)
	wrong := new(stack.Error)
	switch {
	case len(problems) == 0:
		return out, err //nolint:wrapcheck // says what and what to do
	case errors.As(err, &wrong):
		for _, problem := range wrong.Problems {
			flag, _, _ := strings.Cut(problem.Error(), ": ")
			if !slices.ContainsFunc(problems, func(told error) bool { return strings.HasPrefix(told.Error(), flag+": ") }) {
				problems = append(problems, problem)
			}
		}
	}
	return stack.Output{}, &stack.Error{Stack: c.Stack, Problems: problems}
}

// input takes from the deployment what no flag gives.
func (c *trustCommand) input(ctx context.Context, d deployment) (in stack.Input, problems []error) {
	var err error
	in = stack.Input{
		SAN: c.SAN, Subject: c.Subject, Host: c.Host, Listen: c.Listen, Upstream: c.Upstream,
		Certificate: c.Certificate, Key: c.Key, CAFile: c.CAPath, Namespace: c.Namespace,
	}
	switch {
	case c.CA != "":
		if in.CA, err = read(c.CA, maxAuthority); err != nil {
			problems = append(problems, fmt.Errorf("--ca: %w", err))
		}
	default:
		if in.CA, err = d.CA(ctx); err != nil {
			problems = append(problems, fmt.Errorf("--ca: %w", err))
		}
	}
	switch {
	case in.SAN != "":
	case c.CA != "":
		// The name of one deployment under the CA of another would be a mistake.
		problems = append(problems, errors.New("--san: is needed with --ca: the name in Handfast's client certificate, such as spiffe://example.com/handfast"))
	default:
		if in.SAN, err = d.SAN(ctx); err != nil {
			problems = append(problems, fmt.Errorf("--san: %w", err))
		}
		if comparesSubject := c.Stack == "nginx" || c.Stack == "haproxy"; err == nil && comparesSubject && in.Subject == "" {
			if in.Subject, err = d.Subject(ctx); err != nil {
				problems = append(problems, fmt.Errorf("--subject: %w", err))
			}
		}
	}
	if c.Out != "" && in.CAFile == "" && stack.ReadsCA(c.Stack) {
		if in.CAFile, err = filepath.Abs(filepath.Join(c.Out, stack.CAName)); err != nil {
			problems = append(problems, fmt.Errorf("--out: %w", err))
		}
	}
	return in, problems
}

// maxAuthority is in bytes.
const maxAuthority = 1 << 20

// write leaves a file that differs alone: somebody may have put their own program into it. Then nothing is written.
func (c *trustCommand) write(s streams, out stack.Output) error {
	var problems []error
	for _, name := range out.Order() {
		path := filepath.Join(c.Out, name)
		there, err := os.ReadFile(path) //nolint:gosec // the person names the directory
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			problems = append(problems, fmt.Errorf("--out: %w", err))
		case !bytes.Equal(there, []byte(out.Files[name])):
			problems = append(problems, fmt.Errorf("--out: %s is there, and differs; move it away, or choose another directory", path))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	if err := os.MkdirAll(c.Out, 0o755); err != nil { //nolint:gosec // nothing in it is secret, and a server of another user reads it
		return fmt.Errorf("--out: %w", err)
	}
	for _, name := range out.Order() {
		path := filepath.Join(c.Out, name)
		if err := os.WriteFile(path, []byte(out.Files[name]), 0o644); err != nil { //nolint:gosec // likewise
			return fmt.Errorf("--out: %w", err)
		}
		s.printf("%s\n", path)
	}
	s.hintf("%s says what to do with them", filepath.Join(c.Out, "README.md"))
	return nil
}

// development is the deployment of `handfast dev`.
type development struct{ dir string }

// CA reads its authority.
func (d development) CA(context.Context) ([]byte, error) {
	name := filepath.Join(d.dir, "authority.pem")
	text, err := os.ReadFile(name) //nolint:gosec // the operator's own directory
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("is needed: a file with the CA's certificate; without it the one of `handfast dev` would do, but there is no %s", name)
	}
	if err != nil {
		return nil, fmt.Errorf("read the development authority: %w", err)
	}
	return text, nil
}

// SAN is fixed.
func (development) SAN(context.Context) (string, error) { return local.ClientName, nil }

// Subject is made of it.
func (development) Subject(context.Context) (string, error) { return "", nil }
