package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/services/handfast/connection"
	"github.com/handfast/handfast/services/handfast/operator"
	"github.com/handfast/handfast/services/handfast/table"
)

// operate runs one command on an open session.
func operate(ctx context.Context, s streams, flags *connection.Flags, name string, do func(*operator.Operator) error) error {
	session, err := flags.Dial(ctx, name)
	if err != nil {
		return err //nolint:wrapcheck // says what and what to do
	}
	defer session.Close()
	o := operator.New(session.JS, session.Topology)
	o.Trouble = func(err error) { s.hintf("cannot read on: %v; trying again", err) }
	return session.Explain(do(o)) //nolint:wrapcheck // says what already
}

// newTable makes a table as wide as the terminal.
func newTable(columns ...table.Column) *table.Table {
	return table.New(lineWidth(os.Stdout), columns...)
}

// What a cell of a list says something with, in characters: names that often begin alike, outcomes that do
// (server_certificate_…), addresses, and sentences.
const (
	leastName    = 40
	leastOutcome = 22
	leastText    = 24
	leastWords   = 40
)

// lineWidth is what COLUMNS says, or else the terminal: shells know COLUMNS, but do not hand it on. A file or a pipe has no
// width.
func lineWidth(out *os.File) int {
	columns := os.Getenv("COLUMNS")
	if columns == "" {
		if !isTerminal(out) {
			return table.Unlimited
		}
		columns = strconv.Itoa(terminalColumns(out))
	}
	return table.Width(columns)
}

// writeJSON writes one object on one line.
func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

// printf writes text for people. A terminal that has gone away is not worth an error of its own.
func (s streams) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(s.out, format, args...)
}

// hintf writes what is beside the result, so that it does not get into a pipe.
func (s streams) hintf(format string, args ...any) {
	_, _ = fmt.Fprintf(s.err, format+"\n", args...)
}

// confirm asks on a terminal; anywhere else it wants --yes.
func (s streams) confirm(yes bool, question string) error {
	switch {
	case yes:
		return nil
	case !s.live || !isTerminal(os.Stdin):
		return fmt.Errorf("%s Nothing was done; add --yes to do it", question)
	}
	_, _ = fmt.Fprintf(s.err, "%s [y/N] ", question)
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errors.New("nothing was done")
}

// read gives the text of a file, or of standard input for "-".
func read(name string, limit int64) ([]byte, error) {
	file := os.Stdin
	if name != "-" {
		opened, err := os.Open(name) //nolint:gosec // the person names it
		if err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		defer opened.Close() //nolint:errcheck // only read
		file = opened
	}
	text, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes, which are too many", name, limit)
	}
	return text, nil
}

// stamp is a time as people read it, in UTC.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// short is a duration to three digits.
func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}

// plural writes a number with its noun.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// endpointName is TENANT/NAME on the command line.
type endpointName struct{ endpoint.Key }

// UnmarshalText reads it.
func (n *endpointName) UnmarshalText(text []byte) error {
	key, err := endpoint.ParseKey(string(text))
	if err != nil {
		return err //nolint:wrapcheck // says what and what to do
	}
	n.Key = key
	return nil
}

// outcomeName is an outcome on the command line.
type outcomeName delivery.Outcome

// UnmarshalText reads it; the error lists all there are.
func (n *outcomeName) UnmarshalText(text []byte) error {
	var o delivery.Outcome
	if err := o.UnmarshalText(text); err != nil {
		names := make([]string, 0, len(delivery.Outcomes()))
		for _, known := range delivery.Outcomes() {
			names = append(names, known.String())
		}
		return fmt.Errorf("%w; use one of %s", err, strings.Join(names, ", "))
	}
	*n = outcomeName(o)
	return nil
}

// moment is a time on the command line: RFC 3339, a date, or how long ago.
type moment struct{ time.Time }

// UnmarshalText reads it. A number of days is written 30d.
func (m *moment) UnmarshalText(text []byte) error {
	value := string(text)
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, value); err == nil {
			m.Time = at
			return nil
		}
	}
	ago, err := time.ParseDuration(value)
	if days, ok := strings.CutSuffix(value, "d"); ok {
		var n int
		if n, err = strconv.Atoi(days); n < 0 || n > 3650 {
			err = errors.New("out of range")
		}
		ago = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || ago < 0 {
		return fmt.Errorf("%q is not a time; write how long ago (90s, 15m, 6h, 30d) or 2026-01-31T12:00:00Z", value)
	}
	m.Time = time.Now().Add(-ago)
	return nil
}

// pickFlags choose deliveries by what does not change about them.
type pickFlags struct {
	Tenant   string        `help:"Only of this tenant." placeholder:"TENANT"`
	Endpoint endpointName  `help:"Only to this endpoint." placeholder:"TENANT/NAME"`
	Outcome  []outcomeName `help:"Only with this outcome, such as delivered, rejected or client_certificate_refused; repeat it for several." placeholder:"OUTCOME"`
	Event    string        `help:"Only of the event with this id, or this sequence in EVENTS." placeholder:"ID"`
}

// Problems says what contradicts itself.
func (f pickFlags) Problems() []error {
	if f.Tenant != "" && f.Endpoint.Tenant != "" && f.Endpoint.Tenant != f.Tenant {
		return []error{fmt.Errorf("--endpoint: %s is not an endpoint of --tenant %s", f.Endpoint, f.Tenant)}
	}
	if _, err := endpoint.ParseKey(f.Tenant + "/x"); f.Tenant != "" && err != nil {
		return []error{fmt.Errorf("--tenant: %q is not a tenant's name", f.Tenant)}
	}
	return nil
}

func (f pickFlags) empty() bool {
	return f.Tenant == "" && f.Endpoint.Name == "" && len(f.Outcome) == 0 && f.Event == ""
}

func (f pickFlags) filter() operator.Filter {
	key := f.Endpoint.Key
	if key.Tenant == "" {
		key.Tenant = f.Tenant
	}
	outcomes := make([]delivery.Outcome, len(f.Outcome))
	for i, o := range f.Outcome {
		outcomes[i] = delivery.Outcome(o)
	}
	return operator.Filter{Endpoint: key, Outcomes: outcomes, Event: f.Event}
}

// rangeFlags add when.
type rangeFlags struct {
	pickFlags

	Since moment `help:"Only since then: how long ago (15m, 6h, 30d), or a time such as 2026-01-31T12:00:00Z." placeholder:"WHEN"`
	Until moment `help:"Only until then." placeholder:"WHEN"`
}

func (f rangeFlags) empty() bool {
	return f.pickFlags.empty() && f.Since.IsZero() && f.Until.IsZero()
}

func (f rangeFlags) filter() operator.Filter {
	filter := f.pickFlags.filter()
	filter.Since, filter.Until = f.Since.Time, f.Until.Time
	return filter
}
