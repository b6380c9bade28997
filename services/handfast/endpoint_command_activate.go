package main

import (
	"context"
	"strconv"
	"time"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/services/handfast/connection"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/services/handfast/table"
)

type endpointActivateCommand struct {
	connection.Flags

	Endpoint endpointName `arg:"" help:"The endpoint." placeholder:"TENANT/NAME"`
	JSON     bool         `help:"Print one JSON object with document, revision and status." name:"json"`
}

// Help is the manual.
func (*endpointActivateCommand) Help() string {
	return `An endpoint with an activation gets nothing until its receiver has agreed to deliveries. It is asked by itself, at waits that
double from 5 s to 1 h; this command has it asked at once, also when it has agreed before: until it has answered, deliveries
wait. What it says is printed; without consent the command fails.`
}

// answerTime is above the longest timeout of an endpoint.
const answerTime = 75 * time.Second

// Run has the receiver asked.
func (c *endpointActivateCommand) Run(ctx context.Context, s streams) error {
	return operate(ctx, s, &c.Flags, "endpoint", func(o *operator.Operator) error {
		held, err := o.Activate(ctx, c.Endpoint.Key, answerTime)
		if err != nil {
			return err //nolint:wrapcheck // says what and what to do
		}
		if c.JSON {
			return writeJSON(s.out, held)
		}
		s.printf("%s %s\n", held.Key(), activeWords(held))
		return nil
	})
}

func activeWords(held operator.Stored) string {
	given := held.Status.Activation
	words := "active since " + stamp(given.Since)
	if given.Rate > 0 {
		words += ", at " + strconv.Itoa(given.Rate) + " requests per minute"
	}
	return words + "; its receiver said: " + table.Clean(given.Said)
}

// printActivation says in comments how far an endpoint's receiver has agreed, and whether it is held.
func printActivation(s streams, held operator.Stored) {
	asks := asksConsent(held)
	h := held.Status.Held
	switch {
	case asks && held.Activated():
		s.printf("# activation: %s\n", activeWords(held))
	case asks && !held.Disabled():
		s.printf("# activation: pending\n")
		if h == nil {
			s.printf("# its receiver has not been asked yet; is a dispatcher running?\n")
		}
	}
	if h != nil {
		how, again := "a handshake is tried", ", or at once when the document or our certificate changes"
		if asks {
			how, again = "its receiver is asked", ", or at once by `handfast endpoint activate "+held.Key().String()+"`"
		}
		s.printf("# held since %s, %s: %s\n# %s\n# %s at %s%s; then everything goes out, the oldest first\n",
			stamp(h.Since), h.Outcome, table.Clean(h.Detail), table.Clean(h.Advice), how, stamp(h.Next), again)
	}
}

func asksConsent(e operator.Stored) bool { return e.Activation.Kind != endpoint.NoActivation }

// activationColumn is the cell of the list: empty for an endpoint that asks nothing.
func activationColumn(held operator.Stored) string {
	switch {
	case !asksConsent(held):
		return ""
	case held.Activated():
		return "active since " + stamp(held.Status.Activation.Since)
	}
	return "pending"
}
