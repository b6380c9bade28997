package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/services/handfast/connection"
	"github.com/handfast/handfast/services/handfast/operator"
)

type endpointApplyCommand struct {
	connection.Flags

	File    []string      `help:"File with endpoint documents, or - for standard input; repeat it for several." placeholder:"FILE" required:"" short:"f"`
	DryRun  bool          `help:"Check the documents and show what would change; change nothing."`
	Overlap time.Duration `default:"24h" help:"For how long a signature scheme that a document does not list any more still signs, 1s to 2160h." placeholder:"DURATION"`
	Now     bool          `help:"Let schemes that are removed, or retire already, stop signing at once."`
	JSON    bool          `help:"Print one JSON object per endpoint." name:"json"`
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

A signature scheme that a document does not list any more still signs for the overlap, so that receivers have the time to
change; the stored document tells until when, in signature.retiring. --now ends it.

Every mistake in every document is told, and then nothing is changed. What is applied is in force within a second in all
running services. A signer makes the signing keys of a new endpoint; 'handfast key show' prints what its receiver needs.`
}

// Problems says everything that is wrong with the flags.
func (c *endpointApplyCommand) Problems() []error {
	all := c.Flags.Problems()
	if c.Overlap < time.Second || c.Overlap > endpoint.MaxRetiring {
		all = append(all, fmt.Errorf("--overlap: %s is not in 1s to 2160h; --now lets removed schemes stop at once", c.Overlap))
	}
	return all
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
		changes, err := o.Apply(ctx, documents, operator.Application{Dry: c.DryRun, Overlap: c.Overlap, Now: c.Now})
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
