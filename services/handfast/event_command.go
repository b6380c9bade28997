package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/handfast/handfast/pkg/event"
	"github.com/handfast/handfast/services/handfast/connection"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/services/handfast/table"
)

type eventCommand struct {
	Publish eventPublishCommand `cmd:"" help:"Publish an event."`
	Tail    eventTailCommand    `cmd:"" help:"Show events as they are published."`
}

type eventPublishCommand struct {
	connection.Flags

	Tenant      string            `help:"Whose event it is." placeholder:"TENANT" required:""`
	Type        string            `help:"Its type, such as com.acme.order.created." placeholder:"TYPE" required:""`
	Source      string            `help:"Where it comes from, as a URI reference such as /shop." placeholder:"URI" required:""`
	ID          string            `help:"Its id, unique within the source; without it, a new one. Published twice within two minutes, it is stored once." name:"id" placeholder:"ID"`
	Subject     string            `help:"What it is about, such as order/42." placeholder:"TEXT"`
	Data        string            `help:"Its data: the text itself, @FILE, or - for standard input." placeholder:"DATA"`
	ContentType string            `help:"Media type of the data; without it, application/json or text/plain, as the data is." placeholder:"TYPE"`
	Extension   map[string]string `help:"An extension attribute, for CESQL filters; repeat it for several." mapsep:"none" placeholder:"NAME=VALUE"`
	Wait        bool              `help:"Follow it to its outcomes: until every endpoint that wants it has got it, or it was given up."`
	Timeout     time.Duration     `default:"30s" help:"How long to follow." placeholder:"DURATION"`
	JSON        bool              `help:"Print one JSON object for the event, and one per attempt." name:"json"`
}

// Help is the manual.
func (*eventPublishCommand) Help() string {
	return `Any NATS client publishes just as well: the subject is events.TENANT.TYPE, and the README has examples.

  handfast event publish --tenant acme --type com.acme.order.created --source /shop --data '{"total":42}' --wait
  handfast event publish --tenant acme --type com.acme.report --source /reports --data @report.pdf --content-type application/pdf

With --wait the exit status is 1 when a delivery was given up or time is over; it is tried further then.`
}

// Problems says everything that is wrong with the flags.
func (c *eventPublishCommand) Problems() []error {
	all := c.Flags.Problems()
	if c.Timeout < time.Second {
		all = append(all, fmt.Errorf("--timeout: %s is too short; use a second or more", c.Timeout))
	}
	return all
}

func (c *eventPublishCommand) event() (cloudevents.Event, error) {
	e := cloudevents.New()
	if c.ID == "" {
		c.ID = rand.Text()
	}
	e.SetID(c.ID)
	e.SetType(c.Type)
	e.SetSource(c.Source)
	e.SetTime(time.Now().UTC())
	if c.Subject != "" {
		e.SetSubject(c.Subject)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Extension)) {
		e.SetExtension(name, c.Extension[name])
	}
	data := []byte(c.Data)
	if name, isFile := strings.CutPrefix(c.Data, "@"); isFile || c.Data == "-" {
		text, err := read(name, event.MaxSize)
		if err != nil {
			return e, fmt.Errorf("--data: %w", err)
		}
		data = text
	}
	content := c.ContentType
	switch {
	case content != "" || len(data) == 0:
	case json.Valid(data):
		content = "application/json"
	case utf8.Valid(data):
		content = "text/plain; charset=utf-8"
	default:
		content = "application/octet-stream"
	}
	if content != "" {
		e.SetDataContentType(content)
	}
	e.DataEncoded = data
	return e, nil
}

// Run publishes and perhaps follows.
func (c *eventPublishCommand) Run(ctx context.Context, s streams) error {
	e, err := c.event()
	if err != nil {
		return err
	}
	return operate(ctx, s, &c.Flags, "event", func(o *operator.Operator) error {
		p, err := o.Publish(ctx, c.Tenant, e)
		if invalid, ok := errors.AsType[*event.InvalidError](err); ok {
			var lines strings.Builder
			for _, r := range invalid.Reasons {
				lines.WriteString("\n  " + r.Field + ": " + r.Message)
			}
			return errors.New("this is no valid event, so nothing was published:" + lines.String())
		}
		if err != nil {
			return err //nolint:wrapcheck // says what already
		}
		if err := c.print(s, p); err != nil || !c.Wait {
			return err
		}
		waiting, cancel := context.WithTimeout(ctx, c.Timeout)
		defer cancel()
		err = o.Await(waiting, p, func(p operator.Progress) error { return c.progress(s, p) })
		if _, ok := errors.AsType[*operator.UnfinishedError](err); ok {
			return fmt.Errorf("%w\n  `handfast delivery list --event %s` tells how it goes on", err, p.ID)
		}
		return err //nolint:wrapcheck // says what already
	})
}

func (c *eventPublishCommand) print(s streams, p operator.Published) error {
	if c.JSON {
		return writeJSON(s.out, p)
	}
	verb := "published"
	if p.Duplicate {
		verb = "published before, within the last two minutes:"
	}
	s.printf("%s event %s of tenant %s, number %d in EVENTS\n", verb, table.Clean(p.ID), p.Tenant, p.Sequence)
	if len(p.Expected) == 0 {
		s.printf("  no endpoint of the tenant wants it, so it is kept and delivered to nobody; `handfast endpoint list --tenant %s` shows their filters\n", p.Tenant)
	}
	for _, x := range p.Expected {
		note := ""
		switch {
		case x.Paused:
			note = ", which is paused: it waits until `handfast endpoint resume " + x.Endpoint + "`"
		case x.Held != "":
			note = ", which is held (" + x.Held + "): it waits until that is mended; `handfast endpoint get " + x.Endpoint + "` says more"
		}
		s.printf("  %s for %s%s\n", x.Delivery, x.Endpoint, note)
	}
	return nil
}

func (c *eventPublishCommand) progress(s streams, p operator.Progress) error {
	switch {
	case p.Receipt != nil && c.JSON:
		return writeJSON(s.out, p.Receipt)
	case p.Receipt != nil:
		printAttempt(s, *p.Receipt)
	case c.JSON:
		return writeJSON(s.out, p.Letter)
	default:
		s.printf("%s  %s  given up without an attempt: %s\n", stamp(p.Letter.At), p.Endpoint, table.Clean(strings.Join(p.Letter.Reasons, "; ")))
	}
	return nil
}

type eventTailCommand struct {
	connection.Flags

	Tenant string `help:"Only of this tenant." placeholder:"TENANT"`
	Type   string `help:"Only of this type; * stands for one part, and ** at the end for one or more." placeholder:"TYPE"`
	Count  int    `help:"End after this many." least:"1" placeholder:"N" short:"n"`
	JSON   bool   `help:"Print one JSON object per event." name:"json"`
}

// Problems says everything that is wrong with the flags.
func (c *eventTailCommand) Problems() []error {
	all := append(c.Flags.Problems(), pickFlags{Tenant: c.Tenant}.Problems()...)
	if strings.ContainsAny(c.Type, " \t\r\n>") || strings.HasPrefix(c.Type, ".") || strings.HasSuffix(c.Type, ".") || strings.Contains(c.Type, "..") {
		all = append(all, fmt.Errorf("--type: %q is neither a type nor a pattern such as com.acme.order.*", c.Type))
	}
	return all
}

// errEnough ends a tail.
var errEnough = errors.New("enough")

// ended is the result of a tail: having seen enough, and Ctrl-C, are how it ends.
func ended(ctx context.Context, err error) error {
	if errors.Is(err, errEnough) || (ctx.Err() != nil && errors.Is(err, context.Canceled)) {
		return nil
	}
	return err
}

// Run prints until it is asked to stop.
func (c *eventTailCommand) Run(ctx context.Context, s streams) error {
	shown := 0
	err := operate(ctx, s, &c.Flags, "event", func(o *operator.Operator) error {
		s.hintf("showing events as they are published; Ctrl-C ends it")
		return o.TailEvents(ctx, c.Tenant, c.Type, func(seen operator.Seen) error { //nolint:wrapcheck // says what already
			if err := c.print(s, seen); err != nil {
				return err
			}
			shown++
			if c.Count > 0 && shown >= c.Count {
				return errEnough
			}
			return nil
		})
	})
	return ended(ctx, err)
}

func (c *eventTailCommand) print(s streams, seen operator.Seen) error {
	if c.JSON {
		return writeJSON(s.out, seen)
	}
	if seen.Problem != "" {
		s.printf("%s  %d  %s  no valid event: %s\n", stamp(seen.At), seen.Sequence, table.Clean(seen.Subject), table.Clean(seen.Problem))
		return nil
	}
	s.printf("%s  %d  %s  %s  %s from %s\n", stamp(seen.At), seen.Sequence, seen.Tenant, seen.Type, table.Clean(seen.ID), table.Clean(seen.Source))
	s.printf("  %s\n", excerpt(string(seen.Event), 400))
	return nil
}

// excerpt is the beginning of a text, safe for a terminal.
func excerpt(text string, most int) string {
	runes := []rune(table.Clean(text))
	if len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return string(runes)
}
