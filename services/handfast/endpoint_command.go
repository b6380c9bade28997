package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

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

	Activate endpointActivateCommand `cmd:"" help:"Ask the receiver of an endpoint for its consent at once."`
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
	for _, note := range change.Notes {
		s.printf("  %s\n", table.Clean(note))
	}
	for _, warning := range change.Warnings {
		s.printf("  warning: %s\n", table.Clean(warning))
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
			s.printf("# disabled at %s: %s\n# apply the document again to enable it; what it has missed stands in the dead letters, and goes out by\n# handfast deadletter replay --endpoint %s --since %s\n",
				stamp(held.Status.Disabled.At), table.Clean(held.Status.Disabled.Reason), c.Endpoint.Key, held.Status.Disabled.At.UTC().Truncate(time.Second).Format(time.RFC3339))
		}
		printActivation(s, held)
		if held.Waiting > 0 {
			s.printf("# %s in the backlog\n", plural(int(held.Waiting), "delivery waits", "deliveries wait")) //nolint:gosec // at most 10,000
		}
		if held.Retrying != nil && *held.Retrying > 0 {
			s.printf("# %s for the time of a retry\n", plural(int(*held.Retrying), "delivery waits", "deliveries wait")) //nolint:gosec // at most countable
		}
		printSigning(s, held.Endpoint, time.Now())
		s.printf("%s", text)
		return nil
	})
}

type endpointListCommand struct {
	connection.Flags

	Tenant string `help:"Only of this tenant." placeholder:"TENANT"`
	JSON   bool   `help:"Print one JSON object per endpoint." name:"json"`
}

// Help is the manual.
func (*endpointListCommand) Help() string {
	return `BACKLOG is how many deliveries wait for the endpoint itself, and RETRIES how many wait for the time of their next attempt; ? when
there are too many in all to count them.`
}

// Problems says everything that is wrong with the flags.
func (c *endpointListCommand) Problems() []error {
	return append(c.Flags.Problems(), pickFlags{Tenant: c.Tenant}.Problems()...)
}

// Run prints a table.
func (c *endpointListCommand) Run(ctx context.Context, s streams) error {
	return operate(ctx, s, &c.Flags, "endpoint", func(o *operator.Operator) error {
		all, problem := o.Endpoints(ctx, c.Tenant)
		switch {
		case len(all) == 0 && problem == nil:
			s.hintf("there is no endpoint%s; `handfast endpoint apply -f FILE` makes one", of(c.Tenant))
		case c.JSON:
			for _, e := range all {
				if err := writeJSON(s.out, e); err != nil {
					return err
				}
			}
		default:
			if err := endpointTable(all, time.Now()).Write(s.out); err != nil {
				return err //nolint:wrapcheck // says what already
			}
		}
		return problem
	})
}

func endpointTable(all []operator.Stored, now time.Time) *table.Table {
	columns := []table.Column{
		{Name: "ENDPOINT", Least: leastName},
		{Name: "STATE", Whole: true},
		{Name: "BACKLOG", Whole: true},
		{Name: "RETRIES", Whole: true},
		{Name: "URL", Least: leastText, Line: 1},
		{Name: "EVENTS", Give: true, Spare: true, Line: 2},
		{Name: "SIGNED", Give: true, Line: 1},
	}
	if slices.ContainsFunc(all, asksConsent) {
		columns = append(columns, table.Column{Name: "ACTIVATION", Line: 2})
	}
	t := newTable(columns...)
	for _, e := range all {
		types := "all"
		if len(e.Filter.Types) > 0 {
			types = strings.Join(e.Filter.Types, " ")
		}
		t.Row(e.Key().String(), e.State(), strconv.FormatUint(e.Waiting, 10), retriesColumn(e), "https://"+e.Authority(), types, signedWith(e.Endpoint, now), activationColumn(e))
	}
	return t
}

func retriesColumn(e operator.Stored) string {
	if e.Retrying == nil {
		return "?"
	}
	return strconv.FormatUint(*e.Retrying, 10)
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
