package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/services/handfast/connection"
)

type topologyCommand struct {
	Apply topologyApplyCommand `cmd:"" help:"Create or update the streams, consumers and buckets on a NATS server."`
}

type topologyApplyCommand struct {
	connection.Flags

	Partitions int    `env:"HANDFAST_PARTITIONS" help:"Number of fixed shares of the endpoints, 1 to 256. Chosen once: 32, unless given the first time." least:"1" placeholder:"N"`
	Replicas   int    `env:"HANDFAST_REPLICAS" help:"Copies of every stream and bucket: 1, 3 or 5. Left out, it stays as it is, and is 1 the first time." least:"1" placeholder:"N"`
	MaxBytes   string `env:"HANDFAST_MAX_BYTES" help:"Bound of each of the streams EVENTS, DELIVERIES, BACKLOG, DEADLETTERS and RECEIPTS, for example 500MiB or 20GiB. Left out, it stays as it is, and is 1GiB the first time." placeholder:"SIZE"`
	DryRun     bool   `help:"Show what would change, and change nothing."`
	JSON       bool   `help:"Print one JSON object per stream, consumer and bucket." name:"json"`
}

// Help is the manual.
func (*topologyApplyCommand) Help() string {
	return `Run it once with the credentials of an operator, before the services start, and again after an update of Handfast.
Applied twice, the second changes nothing.

  handfast topology apply --server nats://nats:4222 --nats-credentials operator.creds --replicas 3 --dry-run
  handfast topology apply --server nats://nats:4222 --nats-credentials operator.creds --replicas 3

Changes that would lose or strand messages are refused, and then nothing is changed at all: another number of
partitions, another retention, fewer replicas, smaller bounds.`
}

// Problems says everything that is wrong with the flags.
func (c *topologyApplyCommand) Problems() []error {
	all := c.Flags.Problems()
	if c.Partitions < 0 || c.Partitions > stream.MaxPartitions {
		all = append(all, fmt.Errorf("--partitions: %d is not in 1 to %d", c.Partitions, stream.MaxPartitions))
	}
	if c.Replicas != 0 && c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5 {
		all = append(all, fmt.Errorf("--replicas: %d is not 1, 3 or 5", c.Replicas))
	}
	if _, err := size(c.MaxBytes); err != nil {
		all = append(all, fmt.Errorf("--max-bytes: %w", err))
	}
	return all
}

// size reads a number of bytes; empty is 0, "not given".
func size(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	number, unit := text, int64(1)
	for suffix, factor := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40} {
		if before, ok := strings.CutSuffix(text, suffix); ok {
			number, unit = before, factor
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not a size such as 500MiB or 20GiB", text)
	}
	if n > (1<<62)/unit || n*unit < 1<<20 {
		return 0, fmt.Errorf("%s is not in 1MiB to 4194304TiB", text)
	}
	return n * unit, nil
}

var errPartitionsLost = errors.New("nothing was changed: stream DELIVERIES, which knows the number of partitions, is gone, and what was made with it is not; " +
	"another number than before would move every endpoint, so say with --partitions what it was, 32 if nobody chose another one")

// partitionsLost tells that the stream with the number is to be made anew while something that was named by it stands.
// Apply makes that stream before those, so this is not what an interrupted one leaves behind.
func partitionsLost(changes []stream.Change) bool {
	var lost, stands bool
	for _, change := range changes {
		switch change.Name {
		case stream.Deliveries:
			lost = change.Create
		case stream.Retries, stream.Backlog, stream.EndpointBucket:
			stands = stands || !change.Create
		}
	}
	return lost && stands
}

// Run shows the difference, and makes it.
func (c *topologyApplyCommand) Run(ctx context.Context, s streams) error {
	session, err := c.Open(ctx, "topology")
	if err != nil {
		return err //nolint:wrapcheck // says what and what to do
	}
	defer session.Close()
	// What is left out stays as it is, so that an update needs no knowledge of how it was set up.
	topology, err := stream.LoadTopology(ctx, session.JS)
	if err != nil && !errors.Is(err, stream.ErrNoTopology) {
		return session.Explain(err)
	}
	if c.Partitions > 0 {
		topology.Partitions = c.Partitions
	}
	if c.Replicas > 0 {
		topology.Replicas = c.Replicas
	}
	bytes, err := size(c.MaxBytes)
	if err != nil {
		return fmt.Errorf("--max-bytes: %w", err)
	}
	if bytes > 0 {
		topology.MaxBytes = bytes
	}
	changes, err := topology.Plan(ctx, session.JS)
	if c.Partitions == 0 && partitionsLost(changes) {
		return errPartitionsLost
	}
	refused := (*stream.RefusedError)(nil)
	if err != nil && !errors.As(err, &refused) {
		return session.Explain(err)
	}
	if err == nil && !c.DryRun {
		if err := topology.Apply(ctx, session.JS); err != nil {
			return session.Explain(err)
		}
	}
	if printing := c.print(s, changes, err != nil || c.DryRun); printing != nil {
		return printing
	}
	if err != nil {
		return fmt.Errorf("nothing was changed, because of what would be lost:\n%w", err)
	}
	return nil
}

func (c *topologyApplyCommand) print(s streams, changes []stream.Change, planned bool) error {
	if c.JSON {
		return printJSON(s.out, changes, planned)
	}
	verb := map[bool][2]string{true: {"would be created", "would change"}, false: {"created", "changed"}}[planned]
	var b strings.Builder
	var created, changed, unchanged int
	for _, change := range changes {
		switch {
		case change.Create:
			created++
			fmt.Fprintf(&b, "%-8s  %-24s %s\n", change.Kind, change.Name, verb[0])
		case len(change.Fields) > 0:
			changed++
			fmt.Fprintf(&b, "%-8s  %-24s %s\n", change.Kind, change.Name, verb[1])
			for _, field := range change.Fields {
				fmt.Fprintf(&b, "%10s%s: %s → %s\n", "", field.Name, orNothing(field.Old), orNothing(field.New))
			}
		default:
			unchanged++
		}
	}
	fmt.Fprintf(&b, "%d %s, %d %s, %d unchanged\n", created, verb[0], changed, verb[1], unchanged)
	_, err := io.WriteString(s.out, b.String())
	return err //nolint:wrapcheck // a writer's own error
}

func orNothing(text string) string {
	if text == "" {
		return "(not set)"
	}
	return text
}

func printJSON(out io.Writer, changes []stream.Change, planned bool) error {
	type field struct {
		Name string `json:"name"`
		Old  string `json:"old"`
		New  string `json:"new"`
	}
	encoder := json.NewEncoder(out)
	for _, change := range changes {
		line := struct {
			Kind   string  `json:"kind"`
			Name   string  `json:"name"`
			Result string  `json:"result"`
			Fields []field `json:"fields,omitempty"`
			DryRun bool    `json:"dry_run,omitempty"`
		}{Kind: change.Kind, Name: change.Name, Result: "unchanged", DryRun: planned}
		for _, f := range change.Fields {
			line.Result = "changed"
			line.Fields = append(line.Fields, field(f))
		}
		if change.Create {
			line.Result = "created"
		}
		if err := encoder.Encode(line); err != nil {
			return err //nolint:wrapcheck // a writer's own error
		}
	}
	return nil
}
