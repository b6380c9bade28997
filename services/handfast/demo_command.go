package main

import (
	"context"
	"log/slog"

	"github.com/handfast/handfast/pkg/telemetry"
	"github.com/handfast/handfast/services/handfast/demo"
)

type demoCommand struct {
	Events  int  `default:"25" help:"How many events the first act publishes." least:"1" placeholder:"N"`
	JSON    bool `help:"Print one JSON object per delivery and a last one with the summary on standard output; the story goes to standard error."`
	Verbose bool `help:"Show what the services log." short:"v"`
}

// Run tells the story.
func (c demoCommand) Run(ctx context.Context, s streams) error {
	level := slog.LevelError + 1
	if c.Verbose {
		level = slog.LevelInfo
	}
	return demo.Run(ctx, demo.Options{ //nolint:wrapcheck // says which act already
		Events: c.Events, JSON: c.JSON, Out: s.out, Err: s.err, Live: s.live && !c.JSON, Version: readBuild().version,
		Logger: telemetry.NewLogger(s.err, telemetry.FormatText, level),
	})
}
