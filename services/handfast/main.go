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
)

// command is the table of sub-commands.
type command struct {
	Demo    demoCommand    `cmd:"" help:"Tell the story of Handfast on real components, in about ten seconds."`
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
	code := run(ctx, os.Args[1:], streams{out: os.Stdout, err: os.Stderr, live: isTerminal(os.Stdout)})
	stop()
	os.Exit(code)
}

// run parses, runs and reports; its result is the exit status. 2 means that the command line was not understood.
func run(ctx context.Context, arguments []string, s streams) int {
	var table command
	exit := -1
	parser, err := kong.New(&table,
		kong.Name("handfast"), kong.Description("Webhooks that shake hands first: CloudEvents from NATS, signed, over mutual TLS."),
		kong.UsageOnError(), kong.Writers(s.out, s.err), kong.Exit(func(code int) { exit = code }),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(s))
	if err != nil {
		_, _ = fmt.Fprintln(s.err, "handfast:", err)
		return 1
	}
	parsed, err := parser.Parse(arguments)
	if exit >= 0 {
		return exit // --help has been printed
	}
	if err != nil {
		_, _ = fmt.Fprintf(s.err, "handfast: %v\n  handfast --help lists the commands, and handfast COMMAND --help tells about one.\n", err)
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

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
