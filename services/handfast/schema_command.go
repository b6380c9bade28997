package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/schema"
	"github.com/handfast/handfast/services/handfast/connection"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/services/handfast/table"
)

type schemaCommand struct {
	Apply  schemaApplyCommand  `cmd:"" help:"Add a schema, or a new version of one."`
	List   schemaListCommand   `cmd:"" help:"List the schemas."`
	Show   schemaShowCommand   `cmd:"" help:"Print a schema."`
	Check  schemaCheckCommand  `cmd:"" help:"Check a sample event against its schema, without publishing it."`
	Delete schemaDeleteCommand `cmd:"" help:"Take a version of a schema out of force."`
}

// schemaName is TENANT/TYPE on the command line.
type schemaName struct{ schema.Kind }

// UnmarshalText reads it.
func (n *schemaName) UnmarshalText(text []byte) error {
	tenant, kind, found := strings.Cut(string(text), "/")
	if !found {
		return fmt.Errorf("%q does not name a schema: write TENANT/TYPE, such as acme/com.acme.order.created", text)
	}
	var err error
	n.Kind, err = schema.NewKind(tenant, kind)
	return err //nolint:wrapcheck // says what and what to do
}

// versionNumber is the number of a version on the command line; 0 for none.
type versionNumber int

// UnmarshalText reads it.
func (n *versionNumber) UnmarshalText(text []byte) error {
	number, err := schema.ParseNumber(string(text))
	*n = versionNumber(number)
	return err //nolint:wrapcheck // says what and what to do
}

type schemaApplyCommand struct {
	connection.Flags

	File    string        `help:"File with the JSON Schema, or - for standard input." placeholder:"FILE" required:"" short:"f"`
	Tenant  string        `help:"Whose events it is for." placeholder:"TENANT" required:""`
	Type    string        `help:"Which type of event it is for, such as com.acme.order.created." placeholder:"TYPE" required:""`
	Version versionNumber `help:"Number of the version; without it, the next one, if the newest is not the same." placeholder:"N"`
	URL     string        `env:"HANDFAST_SCHEMA_URL" help:"Base of the schema's URI: the address under which receivers reach a signer, which serves it at URL/schemas/TENANT/TYPE/N. Without it, the URI is urn:handfast:schema:TENANT:TYPE:N. It is chosen once for each version." name:"url" placeholder:"URL"`
	DryRun  bool          `help:"Check the schema and show what would change; change nothing."`
	JSON    bool          `help:"Print one JSON object." name:"json"`
}

// Help is the manual.
func (*schemaApplyCommand) Help() string {
	return `A schema is JSON Schema, draft 2020-12. From the moment at which this command returns, events of the type are checked
against the newest version before they are signed for anybody. One that breaks it goes to no endpoint: it stands in
'handfast deadletter list', with everything that is wrong, and can be replayed after a version that accepts it was applied.
Deliveries name the version in their attribute dataschema.

  handfast schema apply -f order.json --tenant acme --type com.acme.order.created
  handfast schema apply -f order-2.json --tenant acme --type com.acme.order.created --version 2

A version never changes once it is applied. A producer may name the version that an event is written for by its
dataschema, and an endpoint may stay with one by schema.pin in its document. Nothing is fetched: a $ref leads into the
same document. format is checked. Regular expressions are those of Go (RE2).`
}

// Problems says everything that is wrong with the flags.
func (c *schemaApplyCommand) Problems() []error {
	all := c.Flags.Problems()
	if _, err := schema.NewKind(c.Tenant, c.Type); err != nil {
		all = append(all, fmt.Errorf("--tenant, --type: %w", err))
	}
	if err := schema.CheckBase(c.URL); err != nil {
		all = append(all, fmt.Errorf("--url: %w", err))
	}
	return all
}

// Run checks the schema and stores it.
func (c *schemaApplyCommand) Run(ctx context.Context, s streams) error {
	text, err := read(c.File, schema.MaxSize)
	if err != nil {
		return err
	}
	document, err := schema.Compile(text)
	if err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	kind, err := schema.NewKind(c.Tenant, c.Type)
	if err != nil {
		return err //nolint:wrapcheck // says what and what to do
	}
	return operate(ctx, s, &c.Flags, "schema", func(o *operator.Operator) error {
		change, err := o.ApplySchema(ctx, kind, int(c.Version), document, c.URL, c.DryRun)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		return tellSchema(s, change, c.JSON, c.DryRun)
	})
}

func tellSchema(s streams, change operator.SchemaChange, asJSON, planned bool) error {
	if asJSON {
		return writeJSON(s.out, struct {
			operator.SchemaChange

			DryRun bool `json:"dry_run,omitempty"`
		}{change, planned})
	}
	word := change.Kind
	if planned && change.Kind != operator.Unchanged {
		word = "would be " + word
	}
	s.printf("%s version %d %s\n  %s\n", change.Schema, change.Version, word, change.URI)
	for _, note := range change.Notes {
		s.printf("  %s\n", table.Clean(note))
	}
	return nil
}

type schemaListCommand struct {
	connection.Flags

	Tenant string `help:"Only of this tenant." placeholder:"TENANT"`
	All    bool   `help:"With those that were deleted."`
	JSON   bool   `help:"Print one JSON object per version." name:"json"`
}

// Problems says everything that is wrong with the flags.
func (c *schemaListCommand) Problems() []error {
	return append(c.Flags.Problems(), pickFlags{Tenant: c.Tenant}.Problems()...)
}

// listedSchema is a version as --json prints it.
type listedSchema struct {
	Schema  string          `json:"schema"`
	Version int             `json:"version"`
	State   string          `json:"state"`
	URI     string          `json:"uri"`
	Applied string          `json:"applied"`
	Deleted string          `json:"deleted,omitempty"`
	Problem string          `json:"problem,omitempty"`
	Pinned  []string        `json:"pinned_by,omitempty"`
	Content json.RawMessage `json:"document,omitempty"`
}

func listSchema(v *schema.Version, pinned []string) listedSchema {
	l := listedSchema{Schema: v.Kind.String(), Version: v.Number, State: v.State(), URI: v.URI, Applied: stamp(v.Applied), Pinned: pinned}
	if !v.Retired.IsZero() {
		l.Deleted = stamp(v.Retired)
	}
	if err := v.Problem(); err != nil {
		l.Problem = err.Error()
	}
	return l
}

// Run prints a table.
func (c *schemaListCommand) Run(ctx context.Context, s streams) error {
	return operate(ctx, s, &c.Flags, "schema", func(o *operator.Operator) error {
		registry, err := o.Schemas(ctx, c.Tenant)
		if err != nil {
			return err //nolint:wrapcheck // says what already
		}
		pins, problem := o.Pins(ctx, c.Tenant)
		var shown []listedSchema
		for _, set := range registry.Sets() {
			for _, v := range set.Versions() {
				if v.State() == operator.Deleted && !c.All {
					continue
				}
				l := listSchema(v, pins[v.Name])
				shown = append(shown, l)
				if c.JSON {
					if err := writeJSON(s.out, l); err != nil {
						return err
					}
					continue
				}
				if l.Problem != "" {
					s.hintf("%s version %d cannot be used, and events that it is for wait: %s", l.Schema, l.Version, table.Clean(l.Problem))
				}
			}
		}
		switch {
		case len(shown) == 0:
			s.hintf("there is no schema%s; `handfast schema apply -f FILE` makes one", of(c.Tenant))
		case !c.JSON:
			return errors.Join(schemaTable(shown, time.Now()).Write(s.out), problem)
		}
		return problem
	})
}

func schemaTable(all []listedSchema, now time.Time) *table.Table {
	t := newTable(table.Column{Name: "SCHEMA", Least: leastName}, table.Column{Name: "VERSION", Whole: true}, table.Column{Name: "STATE", Whole: true},
		table.Column{Name: "APPLIED", Whole: true, Short: shortStamp(now)}, table.Column{Name: "PINNED BY", Line: 1}, table.Column{Name: "URI", Give: true, Least: leastText, Line: 2})
	for _, l := range all {
		t.Row(l.Schema, strconv.Itoa(l.Version), l.State, l.Applied, strings.Join(l.Pinned, " "), l.URI)
	}
	return t
}

type schemaShowCommand struct {
	connection.Flags

	Schema  schemaName    `arg:"" help:"The schema." placeholder:"TENANT/TYPE"`
	Version versionNumber `help:"Number of the version; without it, the newest." placeholder:"N"`
	JSON    bool          `help:"Print one JSON object with the document and what is known about it." name:"json"`
}

// Help is the manual.
func (*schemaShowCommand) Help() string {
	return `What it prints can be applied again. What is known about the version stands beside it, on standard error.`
}

// Run prints the document.
func (c *schemaShowCommand) Run(ctx context.Context, s streams) error {
	return operate(ctx, s, &c.Flags, "schema", func(o *operator.Operator) error {
		v, err := o.FindSchema(ctx, c.Schema.Kind, int(c.Version))
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		pinned, err := o.Pinned(ctx, v.Name)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		l := listSchema(v, pinned)
		if c.JSON {
			l.Content = v.Document()
			return writeJSON(s.out, l)
		}
		s.hintf("%s version %d, %s, applied at %s\n%s", l.Schema, l.Version, l.State, l.Applied, l.URI)
		if len(pinned) > 0 {
			s.hintf("pinned by %s", strings.Join(pinned, ", "))
		}
		if l.Problem != "" {
			return fmt.Errorf("it cannot be used, and events that it is for wait; delete it, or apply a good one: %s", l.Problem)
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, v.Document(), "", "  "); err != nil {
			return fmt.Errorf("write schema: %w", err)
		}
		s.printf("%s\n", pretty.String())
		return nil
	})
}

type schemaDeleteCommand struct {
	connection.Flags

	Schema  schemaName    `arg:"" help:"The schema." placeholder:"TENANT/TYPE"`
	Version versionNumber `help:"Number of the version." placeholder:"N" required:""`
	Yes     bool          `help:"Do not ask."`
	JSON    bool          `help:"Print one JSON object." name:"json"`
}

// Help is the manual.
func (*schemaDeleteCommand) Help() string {
	return `Events are not checked against a deleted version any more: the newest of the others holds, and without one the events pass
as they are. Its number is not given to another content, and its document stays readable for receivers that got events of
it; applied again with the same content, it is in force again. A version that an endpoint pins is not deleted.`
}

// Run asks and deletes.
func (c *schemaDeleteCommand) Run(ctx context.Context, s streams) error {
	return operate(ctx, s, &c.Flags, "schema", func(o *operator.Operator) error {
		name := schema.Name{Kind: c.Schema.Kind, Number: int(c.Version)}
		if _, err := o.FindSchema(ctx, name.Kind, name.Number); err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		if err := s.confirm(c.Yes, fmt.Sprintf("Delete version %d of the schema of %s?", name.Number, name.Kind)); err != nil {
			return err
		}
		change, err := o.DeleteSchema(ctx, name)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		return tellSchema(s, change, c.JSON, false)
	})
}
