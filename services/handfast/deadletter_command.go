package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/receipt"
	"github.com/handfast/handfast/services/handfast/connection"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/services/handfast/table"
)

type deadletterCommand struct {
	List   deadletterListCommand   `cmd:"" help:"List what was given up."`
	Show   deadletterShowCommand   `cmd:"" help:"Show a dead letter: the whole request, and why."`
	Replay deadletterReplayCommand `cmd:"" help:"Deliver again what was given up."`
}

type deadletterListCommand struct {
	rangeFlags
	connection.Flags

	Limit int  `default:"50" help:"At most this many, the newest; 0 for all." least:"0" placeholder:"N"`
	JSON  bool `help:"Print one JSON object per dead letter; since has the newest attempt after it." name:"json"`
}

// Help is the manual.
func (*deadletterListCommand) Help() string {
	return `Dead letters are kept for 30 days, also after a replay; the column SINCE tells what came of that. Messages that were refused
because they are no valid events, or break their schema, stand here, too, as event-N with no endpoint.`
}

// Problems says everything that is wrong with the flags.
func (c *deadletterListCommand) Problems() []error {
	return append(c.Flags.Problems(), c.rangeFlags.Problems()...)
}

// Run prints a table.
func (c *deadletterListCommand) Run(ctx context.Context, s streams) error {
	filter := c.filter()
	filter.Limit = c.Limit
	return operate(ctx, s, &c.Flags, "deadletter", func(o *operator.Operator) error {
		all, err := o.DeadLetters(ctx, filter)
		if err != nil {
			return err //nolint:wrapcheck // says what already
		}
		since, err := o.Since(ctx, all)
		if err != nil {
			return err //nolint:wrapcheck // says what already
		}
		if c.JSON {
			for _, l := range all {
				if err := writeJSON(s.out, recordOf(l, since)); err != nil {
					return err
				}
			}
			return nil
		}
		if len(all) == 0 {
			s.hintf("there is no such dead letter")
			return nil
		}
		if err := letterTable(all, since, time.Now()).Write(s.out); err != nil {
			return err //nolint:wrapcheck // says what already
		}
		if c.Limit > 0 && len(all) == c.Limit {
			s.hintf("the newest %d; --limit shows more", c.Limit)
		}
		return nil
	})
}

// letterRecord is a dead letter for programs.
type letterRecord struct {
	operator.Letter

	// Since is the newest attempt that was made after it; nil when there was none.
	Since *receipt.Receipt `json:"since,omitempty"`
}

func recordOf(l operator.Letter, since map[string]receipt.Receipt) letterRecord {
	record := letterRecord{Letter: l}
	if r, replayed := since[l.ID]; replayed {
		record.Since = &r
	}
	return record
}

func letterTable(all []operator.Letter, since map[string]receipt.Receipt, now time.Time) *table.Table {
	t := newTable(table.Column{Name: "LETTER", Whole: true}, table.Column{Name: "GIVEN UP", Whole: true, Short: shortStamp(now)},
		table.Column{Name: "ENDPOINT", Least: leastName, Line: 1}, table.Column{Name: "OUTCOME", Whole: true, Line: 1},
		table.Column{Name: "SINCE", Least: leastOutcome}, table.Column{Name: "WHY", Give: true, Least: leastWords, Line: 2})
	for _, l := range all {
		outcome, after, to := "refused", "", l.Tenant
		if l.Outcome != nil {
			outcome = l.Outcome.String()
		}
		if l.Endpoint != "" {
			to += "/" + l.Endpoint
		}
		if r, replayed := since[l.ID]; replayed {
			after = r.Outcome.String()
		}
		t.Row(l.ID, stamp(l.At), to, outcome, after, strings.Join(l.Reasons, "; "))
	}
	return t
}

type deadletterShowCommand struct {
	connection.Flags

	Letter string `arg:"" help:"The dead letter: a delivery's id, or event-N." placeholder:"ID"`
	JSON   bool   `help:"Print one JSON object." name:"json"`
}

// Problems says everything that is wrong with the flags.
func (c *deadletterShowCommand) Problems() []error {
	return append(c.Flags.Problems(), deliveryProblems("ID", []string{c.Letter})...)
}

// Run prints everything.
func (c *deadletterShowCommand) Run(ctx context.Context, s streams) error {
	return operate(ctx, s, &c.Flags, "deadletter", func(o *operator.Operator) error {
		all, err := letters(ctx, o, []string{c.Letter})
		if err != nil {
			return err
		}
		since, err := o.Since(ctx, all[:1])
		if err != nil {
			return err //nolint:wrapcheck // says what already
		}
		if c.JSON {
			return writeJSON(s.out, recordOf(all[0], since))
		}
		printLetter(s, all[0], since)
		return nil
	})
}

// letters finds dead letters by id. All that are missing are told at once.
func letters(ctx context.Context, o *operator.Operator, ids []string) ([]operator.Letter, error) {
	all, err := o.DeadLetters(ctx, operator.Filter{Deliveries: deliveryIDs(ids)})
	if err != nil {
		return nil, err //nolint:wrapcheck // says what already
	}
	var missing []string
	for _, id := range ids {
		if !slices.ContainsFunc(all, func(l operator.Letter) bool { return l.ID == id }) {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		return nil, &operator.NotFoundError{
			What: "there is no dead letter " + strings.Join(missing, ", "),
			Hint: "`handfast deadletter list` shows all, and `handfast delivery show` tells about a delivery that was not given up",
		}
	}
	return all, nil
}

// longBody is how much of a body people see; --json has all of it.
const longBody = 4000

func printLetter(s streams, l operator.Letter, since map[string]receipt.Receipt) {
	s.field("", "letter", l.ID)
	if l.Endpoint != "" {
		s.field("", "endpoint", l.Key().String())
		s.field("", "url", l.URL)
	} else {
		s.field("", "message", fmt.Sprintf("on %s, number %d in EVENTS", l.Subject, l.Event))
	}
	if l.Outcome != nil {
		s.field("", "outcome", fmt.Sprintf("%s, with attempt %d", l.Outcome, l.Attempt))
	}
	s.field("", "given up", stamp(l.At))
	for _, reason := range l.Reasons {
		s.field("", "why", reason)
	}
	switch r, replayed := since[l.ID]; {
	case l.BrokeSchema():
		s.field("", "to do", "publish it again, corrected; or apply a version of the schema that accepts it, then `handfast deadletter replay "+l.ID+"`")
	case l.Endpoint == "":
		s.field("", "to do", "publish it again, corrected; there is nothing to replay")
	case replayed && r.Outcome == delivery.Delivered:
		s.field("", "since", fmt.Sprintf("replayed and delivered at %s with attempt %d; this letter stays until it ages out", stamp(r.At.Add(r.Duration)), r.Attempt))
	case replayed:
		s.field("", "since", fmt.Sprintf("replayed at %s: %s", stamp(r.At), outcomeWords(r)))
	default:
		s.field("", "to do", "mend the cause, then `handfast deadletter replay "+l.ID+"`")
	}
	s.printf("\n")
	for _, name := range slices.Sorted(maps.Keys(l.Header)) {
		for _, value := range l.Header[name] {
			s.printf("%s: %s\n", table.Clean(name), table.Clean(value))
		}
	}
	data, kept := l.Body.Bytes()
	if !kept {
		s.printf("\n(a body of %d bytes, too large to repeat)\n", l.Body.Omitted)
		return
	}
	s.printf("\n%s\n", excerpt(string(data), longBody))
}

type deadletterReplayCommand struct {
	rangeFlags
	connection.Flags

	Letter []string `arg:"" help:"The dead letters; or choose them by the flags." optional:"" placeholder:"ID"`
	Yes    bool     `help:"Do not ask, when the flags choose."`
	JSON   bool     `help:"Print one JSON object per delivery." name:"json"`
}

// Help is the manual.
func (*deadletterReplayCommand) Help() string {
	return `It does what 'handfast delivery replay' does, also when the event itself has aged out: the dead letter has the payload. Chosen
by flags, those that have been delivered since are left out.

  handfast deadletter replay --endpoint acme/orders --since 6h --yes`
}

// Problems says everything that is wrong with the flags.
func (c *deadletterReplayCommand) Problems() []error {
	all := append(append(c.Flags.Problems(), c.rangeFlags.Problems()...), deliveryProblems("ID", c.Letter)...)
	return append(all, chosenProblems(len(c.Letter), c.empty())...)
}

// Run replays.
func (c *deadletterReplayCommand) Run(ctx context.Context, s streams) error {
	return operate(ctx, s, &c.Flags, "deadletter", func(o *operator.Operator) error {
		if len(c.Letter) > 0 {
			all, err := letters(ctx, o, c.Letter)
			if err != nil {
				return err
			}
			return replay(ctx, s, o, operator.ChooseLetters(all), c.JSON)
		}
		all, err := o.DeadLetters(ctx, c.filter())
		if err != nil {
			return err //nolint:wrapcheck // says what already
		}
		since, err := o.Since(ctx, all)
		if err != nil {
			return err //nolint:wrapcheck // says what already
		}
		all = slices.DeleteFunc(all, func(l operator.Letter) bool {
			r, replayed := since[l.ID]
			return (l.Endpoint == "" && !l.BrokeSchema()) || (replayed && r.Outcome == delivery.Delivered)
		})
		if len(all) == 0 {
			s.hintf("no dead letter is like that and still to be delivered, so nothing was replayed")
			return nil
		}
		if err := s.confirm(c.Yes, fmt.Sprintf("Replay %s?", plural(len(all), "dead letter", "dead letters"))); err != nil {
			return err
		}
		return replay(ctx, s, o, operator.ChooseLetters(all), c.JSON)
	})
}
