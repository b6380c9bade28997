package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/services/handfast/connection"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/services/handfast/table"
)

type endpointCommand struct {
	Apply  endpointApplyCommand  `cmd:"" help:"Create endpoints, or change them, from their documents."`
	Get    endpointGetCommand    `cmd:"" help:"Print an endpoint's document and state."`
	List   endpointListCommand   `cmd:"" help:"List the endpoints."`
	Delete endpointDeleteCommand `cmd:"" help:"Delete an endpoint."`
	Pause  endpointPauseCommand  `cmd:"" help:"Let the deliveries of an endpoint wait."`
	Resume endpointResumeCommand `cmd:"" help:"Let the deliveries of a paused endpoint go on."`
}

type endpointApplyCommand struct {
	connection.Flags

	File   []string `help:"File with endpoint documents, or - for standard input; repeat it for several." placeholder:"FILE" required:"" short:"f"`
	DryRun bool     `help:"Check the documents and show what would change; change nothing."`
	JSON   bool     `help:"Print one JSON object per endpoint." name:"json"`
}

// Help is the manual.
func (*endpointApplyCommand) Help() string {
	return `A document is YAML or JSON; a YAML file may hold several, with a line of --- between them. Only tenant, name and url are
needed:

  tenant: acme
  name: orders
  url: https://hooks.example.com/in
  filter:
    types: ["com.acme.order.*"]

  handfast endpoint apply -f orders.yaml --dry-run
  handfast endpoint apply -f orders.yaml -f billing.yaml
  cat endpoints/*.yaml | handfast endpoint apply -f -

Every mistake in every document is told, and then nothing is changed. What is applied is in force within a second in all
running services. A signer makes the signing keys of a new endpoint; 'handfast key show' prints what its receiver needs.`
}

// maxSource bounds a file of documents.
const maxSource = 16 << 20

// keyTime is how long apply waits for the keys of a new endpoint.
const keyTime = 2 * time.Second

// Run checks everything, and then stores.
func (c *endpointApplyCommand) Run(ctx context.Context, s streams) error {
	var sources []operator.Source
	var problems []error
	for _, name := range c.File {
		text, err := read(name, maxSource)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if name == "-" {
			name = "standard input"
		}
		sources = append(sources, operator.Source{Name: name, Text: text})
	}
	documents, err := operator.ParseDocuments(sources)
	if err := errors.Join(append(problems, err)...); err != nil {
		return fmt.Errorf("nothing was changed:\n%w", err)
	}
	return operate(ctx, s, &c.Flags, "endpoint", func(o *operator.Operator) error {
		changes, err := o.Apply(ctx, documents, c.DryRun)
		for _, change := range changes {
			if err := c.print(ctx, s, o, change); err != nil {
				return err
			}
		}
		return err //nolint:wrapcheck // says what and which
	})
}

func (c *endpointApplyCommand) print(ctx context.Context, s streams, o *operator.Operator, change operator.Change) error {
	keys := false
	if change.Kind == operator.Created && !c.DryRun {
		key, err := endpoint.ParseKey(change.Endpoint)
		if err != nil {
			return err //nolint:wrapcheck // cannot be: it was parsed before
		}
		if keys = o.AwaitKeys(ctx, key, keyTime); keys {
			change.Note = "its signing keys are made: `handfast key show " + change.Endpoint + "` prints what the receiver needs"
		} else {
			change.Note = "no signer has made its signing keys yet; is one running? `handfast key show " + change.Endpoint + "` prints them once it has"
		}
	}
	if c.JSON {
		return writeJSON(s.out, struct {
			operator.Change

			Keys   bool `json:"keys,omitempty"`
			DryRun bool `json:"dry_run,omitempty"`
		}{change, keys, c.DryRun})
	}
	printChange(s, change, c.DryRun)
	return nil
}

func printChange(s streams, change operator.Change, planned bool) {
	word := change.Kind
	if planned && change.Kind != operator.Unchanged {
		word = "would be " + word
	}
	s.printf("%s %s\n", change.Endpoint, word)
	for _, f := range change.Fields {
		s.printf("  %s: %s → %s\n", table.Clean(f.Path), table.Clean(orNothing(f.Old)), table.Clean(orNothing(f.New)))
	}
	if change.Note != "" {
		s.printf("  %s\n", table.Clean(change.Note))
	}
}

type endpointGetCommand struct {
	connection.Flags

	Endpoint endpointName `arg:"" help:"The endpoint." placeholder:"TENANT/NAME"`
	JSON     bool         `help:"Print one JSON object with document, revision and status." name:"json"`
}

// Help is the manual.
func (*endpointGetCommand) Help() string {
	return `What it prints can be applied again: the state stands in comments. The document is shown whole; the path of its url is
often a secret.`
}

// Run prints the document.
func (c *endpointGetCommand) Run(ctx context.Context, s streams) error {
	return operate(ctx, s, &c.Flags, "endpoint", func(o *operator.Operator) error {
		held, err := o.Endpoint(ctx, c.Endpoint.Key)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		if c.JSON {
			return writeJSON(s.out, held)
		}
		text, err := operator.YAML(held.Endpoint)
		if err != nil {
			return err //nolint:wrapcheck // says what already
		}
		s.printf("# %s, stored at %s as revision %d\n", held.State(), stamp(held.Changed), held.Revision)
		if held.Disabled() {
			s.printf("# disabled at %s: %s\n# apply the document again to enable it\n", stamp(held.Status.Disabled.At), table.Clean(held.Status.Disabled.Reason))
		}
		if h := held.Status.Held; h != nil {
			s.printf("# held since %s, %s: %s\n# %s\n# a handshake is tried at %s, or at once when the document or our certificate changes; then everything goes out, the oldest first\n",
				stamp(h.Since), h.Outcome, table.Clean(h.Detail), table.Clean(h.Advice), stamp(h.Next))
		}
		if held.Waiting > 0 {
			s.printf("# %s in the backlog\n", plural(int(held.Waiting), "delivery waits", "deliveries wait")) //nolint:gosec // at most 10,000
		}
		s.printf("%s", text)
		return nil
	})
}

type endpointListCommand struct {
	connection.Flags

	Tenant string `help:"Only of this tenant." placeholder:"TENANT"`
	JSON   bool   `help:"Print one JSON object per endpoint." name:"json"`
}

// Problems says everything that is wrong with the flags.
func (c *endpointListCommand) Problems() []error {
	return append(c.Flags.Problems(), pickFlags{Tenant: c.Tenant}.Problems()...)
}

// Run prints a table.
func (c *endpointListCommand) Run(ctx context.Context, s streams) error {
	return operate(ctx, s, &c.Flags, "endpoint", func(o *operator.Operator) error {
		all, problem := o.Endpoints(ctx, c.Tenant)
		t := newTable(table.Column{Name: "ENDPOINT", Whole: true}, table.Column{Name: "STATE"}, table.Column{Name: "WAITING"},
			table.Column{Name: "URL"}, table.Column{Name: "EVENTS", Give: true}, table.Column{Name: "SIGNED"})
		for _, e := range all {
			if c.JSON {
				if err := writeJSON(s.out, e); err != nil {
					return err
				}
				continue
			}
			types := "all"
			if len(e.Filter.Types) > 0 {
				types = strings.Join(e.Filter.Types, " ")
			}
			t.Row(e.Key().String(), e.State(), strconv.FormatUint(e.Waiting, 10), "https://"+e.Authority(), types, strings.Join(e.Signature.Schemes, " "))
		}
		switch {
		case len(all) == 0 && problem == nil:
			s.hintf("there is no endpoint%s; `handfast endpoint apply -f FILE` makes one", of(c.Tenant))
		case !c.JSON:
			if err := t.Write(s.out); err != nil {
				return err //nolint:wrapcheck // says what already
			}
		}
		return problem
	})
}

func of(tenant string) string {
	if tenant == "" {
		return ""
	}
	return " of tenant " + tenant
}

type endpointDeleteCommand struct {
	connection.Flags

	Endpoint endpointName `arg:"" help:"The endpoint." placeholder:"TENANT/NAME"`
	Yes      bool         `help:"Do not ask."`
	JSON     bool         `help:"Print one JSON object." name:"json"`
}

// Help is the manual.
func (*endpointDeleteCommand) Help() string {
	return `What still waits for the endpoint ends as dead letters, which can be replayed when it is applied again. 'handfast endpoint
pause' keeps deliveries waiting instead.`
}

// Run asks and deletes.
func (c *endpointDeleteCommand) Run(ctx context.Context, s streams) error {
	return operate(ctx, s, &c.Flags, "endpoint", func(o *operator.Operator) error {
		held, err := o.Endpoint(ctx, c.Endpoint.Key)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		question := fmt.Sprintf("Delete endpoint %s (https://%s), for which %s?", held.Key(), held.Authority(),
			plural(int(held.Waiting), "delivery waits in the backlog", "deliveries wait in the backlog")) //nolint:gosec // at most 10,000
		if err := s.confirm(c.Yes, question); err != nil {
			return err
		}
		return tell(s, c.JSON)(o.Delete(ctx, c.Endpoint.Key))
	})
}

// tell prints what changed.
func tell(s streams, asJSON bool) func(operator.Change, error) error {
	return func(change operator.Change, err error) error {
		if err != nil {
			return err
		}
		if asJSON {
			return writeJSON(s.out, change)
		}
		printChange(s, change, false)
		return nil
	}
}

type endpointPauseCommand struct {
	connection.Flags

	Endpoint endpointName `arg:"" help:"The endpoint." placeholder:"TENANT/NAME"`
	JSON     bool         `help:"Print one JSON object." name:"json"`
}

// Help is the manual.
func (*endpointPauseCommand) Help() string {
	return `It sets paused: true in the stored document. Waiting costs no attempt. Applying a document without paused lets the
deliveries go on, as 'handfast endpoint resume' does.`
}

// Run pauses.
func (c *endpointPauseCommand) Run(ctx context.Context, s streams) error {
	return operate(ctx, s, &c.Flags, "endpoint", func(o *operator.Operator) error {
		return tell(s, c.JSON)(o.Pause(ctx, c.Endpoint.Key))
	})
}

type endpointResumeCommand struct {
	connection.Flags

	Endpoint endpointName `arg:"" help:"The endpoint." placeholder:"TENANT/NAME"`
	JSON     bool         `help:"Print one JSON object." name:"json"`
}

// Run resumes.
func (c *endpointResumeCommand) Run(ctx context.Context, s streams) error {
	return operate(ctx, s, &c.Flags, "endpoint", func(o *operator.Operator) error {
		return tell(s, c.JSON)(o.Resume(ctx, c.Endpoint.Key))
	})
}
