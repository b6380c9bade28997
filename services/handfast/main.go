package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/handfast/handfast/services/handfast/configuration"
	"github.com/handfast/handfast/services/handfast/process"
)

// command is the table of sub-commands.
type command struct {
	Demo demoCommand `cmd:"" help:"Tell the story of Handfast on real components, in about ten seconds."`
	Dev  devCommand  `cmd:"" help:"Run everything in one process, for development: NATS, signer, dispatcher and an authority."`

	Signer     signerCommand     `cmd:"" help:"Run a signer: it turns events into signed requests."`
	Dispatcher dispatcherCommand `cmd:"" help:"Run a dispatcher: it delivers signed requests over mutual TLS."`
	Topology   topologyCommand   `cmd:"" help:"Set up the streams, consumers and buckets on a NATS server."`

	Endpoint   endpointCommand   `cmd:"" help:"Look after endpoints: who gets which events, and where."`
	Key        keyCommand        `cmd:"" help:"Look after signing keys."`
	Schema     schemaCommand     `cmd:"" help:"Look after the JSON Schemas that events are checked against."`
	Event      eventCommand      `cmd:"" help:"Publish events, and watch them."`
	Delivery   deliveryCommand   `cmd:"" help:"See what was delivered, with proofs, and deliver again."`
	Deadletter deadletterCommand `cmd:"" help:"See what was given up, and deliver it after all."`
	Listen     listenCommand     `cmd:"" help:"Receive webhooks on this machine, for development."`
	Doctor     doctorCommand     `cmd:"" help:"Find out why a receiver cannot be delivered to, and what each side must change."`
	Trust      trustCommand      `cmd:"" help:"Print the configuration by which a receiver accepts Handfast, and nobody else."`

	Identity identityCommand `cmd:"" help:"Look after the client certificates that Handfast presents, and the authorities that issue them."`
	Rotate   rotateCommand   `cmd:"" help:"See how far a change of client certificates is, and steer it."`

	Version versionCommand `cmd:"" help:"Print version and build information."`
}

// streams are where a command reads and writes.
type streams struct {
	out, err io.Writer
	// live tells that out is a terminal.
	live bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	process.TuneMemory()
	code := run(ctx, os.Args[1:], streams{out: os.Stdout, err: os.Stderr, live: isTerminal(os.Stdout)})
	stop()
	os.Exit(code)
}

// run parses, runs and reports; its result is the exit status. 2 means that the command line, or a configuration, was
// not understood, and that nothing was done.
func run(ctx context.Context, arguments []string, s streams) int {
	exit := -1
	reader := configuration.NewReader()
	parser, err := newParser(ctx, reader, s, func(code int) { exit = code })
	if err != nil {
		_, _ = fmt.Fprintln(s.err, "handfast:", err)
		return 1
	}
	if len(arguments) > 0 && arguments[0] == "help" {
		arguments = append(arguments[1:], "--help")
	}
	parsed, err := parser.Parse(arguments)
	if exit >= 0 {
		return exit // --help has been printed
	}
	if err != nil {
		_, _ = fmt.Fprintf(s.err, "handfast: %v\n  handfast --help lists the commands, and handfast COMMAND --help tells about one.\n", err)
		return 2
	}
	if err := reader.Check(parsed); err != nil {
		_, _ = fmt.Fprintf(s.err, "handfast: %v\n  %s --help tells about each.\n", err, parsed.Selected().FullPath())
		return 2
	}
	if err := parsed.Run(); err != nil {
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			_, _ = fmt.Fprintln(s.err, "handfast: stopped")
			return 130
		}
		_, _ = fmt.Fprintln(s.err, "handfast:", err)
		return 1
	}
	return 0
}

func newParser(ctx context.Context, reader *configuration.Reader, s streams, exit func(int)) (*kong.Kong, error) {
	return kong.New(new(command), append(reader.Options(), //nolint:wrapcheck // a mistake in the table, which a test finds
		kong.Name("handfast"), kong.Description("Webhooks that shake hands first: CloudEvents from NATS, signed, over mutual TLS."),
		kong.UsageOnError(), kong.Writers(s.out, s.err), kong.Exit(exit),
		configuration.Text[moment](reader), configuration.Text[outcomeName](reader), configuration.Text[endpointName](reader), configuration.Text[versionNumber](reader),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(s))...)
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
