package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/handfast/handfast/pkg/event"
	"github.com/handfast/handfast/services/handfast/connection"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/services/handfast/table"
)

type schemaCheckCommand struct {
	connection.Flags

	Tenant      string `help:"Whose event it is." placeholder:"TENANT" required:""`
	Type        string `help:"Its type, such as com.acme.order.created." placeholder:"TYPE" required:""`
	Source      string `default:"/check" help:"Where it comes from, for the filters of endpoints." placeholder:"URI"`
	Data        string `help:"Its data: the text itself, @FILE, or - for standard input." placeholder:"DATA"`
	ContentType string `help:"Media type of the data; without it, application/json or text/plain, as the data is." placeholder:"TYPE"`
	DataSchema  string `help:"URI of the version that it is written for; without it, the newest." name:"dataschema" placeholder:"URI"`
	JSON        bool   `help:"Print one JSON object." name:"json"`
}

// Help is the manual.
func (*schemaCheckCommand) Help() string {
	return `It does what a signer would do with the event now, and publishes nothing. The exit status is 1 when the event breaks the
schema, or a version that an endpoint which wants it is pinned to.

  handfast schema check --tenant acme --type com.acme.order.created --data @sample.json`
}

// Run checks.
func (c *schemaCheckCommand) Run(ctx context.Context, s streams) error {
	publish := eventPublishCommand{Tenant: c.Tenant, Type: c.Type, Source: c.Source, Data: c.Data, ContentType: c.ContentType}
	made, err := publish.event()
	if err != nil {
		return err
	}
	if c.DataSchema != "" {
		made.SetDataSchema(c.DataSchema)
	}
	msg, err := event.NewMessage(c.Tenant, made)
	if err != nil {
		return fmt.Errorf("this is no valid event: %w", err)
	}
	sample, err := event.Parse(msg.Subject, msg.Header, msg.Data)
	if err != nil {
		return fmt.Errorf("this is no valid event: %w", err)
	}
	return operate(ctx, s, &c.Flags, "schema", func(o *operator.Operator) error {
		checked, err := o.CheckEvent(ctx, sample)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		if c.JSON {
			if err := writeJSON(s.out, checked); err != nil {
				return err
			}
		} else {
			printChecked(s, checked)
		}
		if !checked.Passes() {
			return errors.New("the event would not be delivered to all that want it")
		}
		return nil
	})
}

func printChecked(s streams, c operator.Checked) {
	switch {
	case len(c.Reasons) > 0 && c.Version == 0:
		s.printf("%s: breaks the rules\n", c.Schema)
	case len(c.Reasons) > 0:
		s.printf("%s: breaks version %d\n", c.Schema, c.Version)
	case c.Version == 0:
		s.printf("%s: there is no schema, so the event passes as it is\n", c.Schema)
	default:
		s.printf("%s: is as version %d wants it\n  dataschema: %s\n", c.Schema, c.Version, c.DataSchema)
	}
	for _, reason := range c.Reasons {
		s.printf("  %s\n", table.Clean(reason))
	}
	for _, p := range c.Pins {
		if len(p.Reasons) == 0 {
			s.printf("  %s, pinned to version %d: gets it\n", p.Endpoint, p.Version)
			continue
		}
		s.printf("  %s, pinned to version %d: does not get it\n    %s\n", p.Endpoint, p.Version, strings.Join(cleaned(p.Reasons), "\n    "))
	}
}

func cleaned(texts []string) []string {
	out := make([]string, len(texts))
	for i, text := range texts {
		out[i] = table.Clean(text)
	}
	return out
}
