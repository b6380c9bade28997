package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/receipt"
	"github.com/handfast/handfast/services/handfast/connection"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/services/handfast/table"
)

type deliveryCommand struct {
	List   deliveryListCommand   `cmd:"" help:"List deliveries, the newest attempt of each."`
	Show   deliveryShowCommand   `cmd:"" help:"Show every attempt of a delivery, with its proofs, and where it stands."`
	Replay deliveryReplayCommand `cmd:"" help:"Deliver again, now."`
	Tail   deliveryTailCommand   `cmd:"" help:"Show attempts as they are made."`
}

type deliveryListCommand struct {
	rangeFlags
	connection.Flags

	Delivery []string `help:"Only this delivery; repeat it for several." placeholder:"ID"`
	Limit    int      `default:"50" help:"At most this many, the newest; 0 for all." least:"0" placeholder:"N"`
	JSON     bool     `help:"Print one JSON object per delivery: the receipt of its newest attempt." name:"json"`
}

// Help is the manual.
func (*deliveryListCommand) Help() string {
	return `Without --since, --event or --delivery it looks back one day. Receipts are kept for 30 days.
Times are in UTC. Where a line is too narrow, they are shortened and a row takes two lines; --json and pipes have everything whole.

  handfast delivery list --endpoint acme/orders --since 1h
  handfast delivery list --outcome client_certificate_refused --outcome server_certificate_untrusted
  handfast delivery list --event 42 --json`
}

// usually is how far a list looks back when nothing bounds it.
const usually = 24 * time.Hour

// Problems says everything that is wrong with the flags.
func (c *deliveryListCommand) Problems() []error {
	return append(append(c.Flags.Problems(), c.rangeFlags.Problems()...), deliveryProblems("--delivery", c.Delivery)...)
}

func deliveryProblems(where string, ids []string) []error {
	var all []error
	for _, id := range ids {
		if !delivery.ID(id).Valid() {
			all = append(all, fmt.Errorf("%s: %q is not the id of a delivery, such as msg_3kq…", where, id))
		}
	}
	return all
}

func deliveryIDs(texts []string) []delivery.ID {
	ids := make([]delivery.ID, len(texts))
	for i, text := range texts {
		ids[i] = delivery.ID(text)
	}
	return ids
}

// Run prints a table.
func (c *deliveryListCommand) Run(ctx context.Context, s streams) error {
	filter := c.filter()
	filter.Deliveries, filter.Limit = deliveryIDs(c.Delivery), c.Limit
	if c.Since.IsZero() && c.Event == "" && len(c.Delivery) == 0 {
		filter.Since = time.Now().Add(-usually)
	}
	return operate(ctx, s, &c.Flags, "delivery", func(o *operator.Operator) error {
		all, err := o.Deliveries(ctx, filter)
		if err != nil {
			return err //nolint:wrapcheck // says what already
		}
		if c.JSON {
			for _, r := range all {
				if err := writeJSON(s.out, r); err != nil {
					return err
				}
			}
			return nil
		}
		if len(all) == 0 {
			s.hintf("no such delivery has been attempted%s", sinceWords(filter.Since))
			return nil
		}
		if err := deliveryTable(all, time.Now()).Write(s.out); err != nil {
			return err //nolint:wrapcheck // says what already
		}
		if c.Limit > 0 && len(all) == c.Limit {
			s.hintf("the newest %d; --limit shows more", c.Limit)
		}
		return nil
	})
}

func sinceWords(since time.Time) string {
	if since.IsZero() {
		return ""
	}
	return " since " + stamp(since) + "; --since 30d looks as far back as there are receipts"
}

func deliveryTable(all []receipt.Receipt, now time.Time) *table.Table {
	columns := []table.Column{
		{Name: "DELIVERY", Whole: true},
		{Name: "AT", Whole: true, Short: shortStamp(now)},
		{Name: "ENDPOINT", Least: leastName, Line: 1},
		{Name: "EVENT", Give: true, Spare: true},
		{Name: "TRY"},
		{Name: "OUTCOME", Whole: true, Line: 1},
	}
	// The column is long, and empty for what has ended.
	if slices.ContainsFunc(all, func(r receipt.Receipt) bool { return r.Next != nil }) {
		columns = append(columns, table.Column{Name: "NEXT", Whole: true, Short: shortAhead(now)})
	}
	t := newTable(columns...)
	for _, r := range all {
		outcome, next := r.Outcome.String(), ""
		if r.Status > 0 {
			outcome += " " + strconv.Itoa(r.Status)
		}
		if r.Next != nil {
			next = stamp(*r.Next)
		}
		t.Row(string(r.Delivery), stamp(r.At), r.Tenant+"/"+r.Endpoint, r.Event.Type, strconv.Itoa(r.Attempt), outcome, next)
	}
	return t
}

type deliveryShowCommand struct {
	connection.Flags

	Delivery string `arg:"" help:"The delivery: its webhook-id." placeholder:"ID"`
	JSON     bool   `help:"Print one JSON object." name:"json"`
}

// Run prints everything.
func (c *deliveryShowCommand) Run(ctx context.Context, s streams) error {
	return operate(ctx, s, &c.Flags, "delivery", func(o *operator.Operator) error {
		shown, err := o.Delivery(ctx, delivery.ID(c.Delivery))
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		if c.JSON {
			return writeJSON(s.out, shown)
		}
		printDelivery(s, shown)
		return nil
	})
}

type deliveryReplayCommand struct {
	rangeFlags
	connection.Flags

	Delivery []string `arg:"" help:"The deliveries; or choose them by the flags." optional:"" placeholder:"ID"`
	Yes      bool     `help:"Do not ask, when the flags choose."`
	JSON     bool     `help:"Print one JSON object per delivery." name:"json"`
}

// Help is the manual.
func (*deliveryReplayCommand) Help() string {
	return `A replay is one more attempt, now, with the same webhook-id, a new signature and the next attempt number; the endpoint's
schedule of retries counts anew from it. Asked twice for the same attempt, it is done once. A delivery that is on its way
is left alone, and one that waits for a time goes on now.

  handfast delivery replay msg_3kq…
  handfast delivery replay --endpoint acme/orders --outcome rejected --since 6h --yes

The exit status is 1 when one could not be replayed.`
}

// Problems says everything that is wrong with the flags.
func (c *deliveryReplayCommand) Problems() []error {
	all := append(append(c.Flags.Problems(), c.rangeFlags.Problems()...), deliveryProblems("ID", c.Delivery)...)
	return append(all, chosenProblems(len(c.Delivery), c.empty())...)
}

func chosenProblems(ids int, noFlags bool) []error {
	switch {
	case ids == 0 && noFlags:
		return []error{errors.New("name what to replay by id, or choose it with flags such as --endpoint and --outcome")}
	case ids > 0 && !noFlags:
		return []error{errors.New("give either ids or flags that choose, not both")}
	}
	return nil
}

// Run replays.
func (c *deliveryReplayCommand) Run(ctx context.Context, s streams) error {
	return operate(ctx, s, &c.Flags, "delivery", func(o *operator.Operator) error {
		if len(c.Delivery) > 0 {
			chosen, err := o.Find(ctx, deliveryIDs(c.Delivery))
			if err != nil {
				return err //nolint:wrapcheck // says what and what to do
			}
			return replay(ctx, s, o, chosen, c.JSON)
		}
		all, err := o.Deliveries(ctx, c.filter())
		if err != nil {
			return err //nolint:wrapcheck // says what already
		}
		if len(all) == 0 {
			s.hintf("no delivery is like that, so nothing was replayed")
			return nil
		}
		if err := s.confirm(c.Yes, fmt.Sprintf("Replay %s?", plural(len(all), "delivery", "deliveries"))); err != nil {
			return err
		}
		return replay(ctx, s, o, operator.Choose(all), c.JSON)
	})
}

// replay shows progress, a line for each.
func replay(ctx context.Context, s streams, o *operator.Operator, chosen []operator.Chosen, asJSON bool) error {
	done, refused := 0, 0
	err := o.Replay(ctx, chosen, func(r operator.Replay) error {
		done++
		if r.Result == operator.Refused {
			refused++
		}
		if asJSON {
			return writeJSON(s.out, r)
		}
		words := r.Result
		switch r.Result {
		case operator.Replayed:
			words = fmt.Sprintf("replayed, as attempt %d", r.Attempt)
		case operator.Underway:
			words = "left alone"
		}
		if r.Note != "" {
			words += ": " + r.Note
		}
		s.printf("[%d/%d] %s  %s  %s\n", done, len(chosen), r.Delivery, r.Endpoint, table.Clean(words))
		return nil
	})
	if err == nil && refused > 0 {
		err = fmt.Errorf("%d of %d could not be replayed", refused, len(chosen))
	}
	return err
}

type deliveryTailCommand struct {
	pickFlags
	connection.Flags

	Count int  `help:"End after this many." least:"1" placeholder:"N" short:"n"`
	JSON  bool `help:"Print one JSON object per attempt: its receipt." name:"json"`
}

// Problems says everything that is wrong with the flags.
func (c *deliveryTailCommand) Problems() []error {
	return append(c.Flags.Problems(), c.pickFlags.Problems()...)
}

// Run prints until it is asked to stop.
func (c *deliveryTailCommand) Run(ctx context.Context, s streams) error {
	shown := 0
	err := operate(ctx, s, &c.Flags, "delivery", func(o *operator.Operator) error {
		s.hintf("showing attempts as they are made; Ctrl-C ends it")
		return o.Tail(ctx, c.filter(), func(r receipt.Receipt) error { //nolint:wrapcheck // says what already
			if c.JSON {
				if err := writeJSON(s.out, r); err != nil {
					return err
				}
			} else {
				printAttempt(s, r)
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
