package process_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/stream/embedded"
	"github.com/handfast/handfast/services/handfast/process"
)

// work is a service that does nothing, and knows whether it runs.
type work struct {
	running atomic.Bool
	result  chan error
}

func (w *work) Ready() bool { return w.running.Load() }

func (w *work) Run(ctx context.Context) error {
	w.running.Store(true)
	defer w.running.Store(false)
	select {
	case <-ctx.Done():
		return nil
	case err := <-w.result:
		return err
	}
}

const deadline = 20 * time.Second

func eventually(t *testing.T, condition func() bool, what string) {
	t.Helper()
	require.Eventually(t, condition, deadline, 5*time.Millisecond, what)
}

func connect(t *testing.T) (*nats.Conn, *embedded.Server) {
	t.Helper()
	server, err := embedded.Start(embedded.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	nc, err := nats.Connect("", server.Option(), nats.MaxReconnects(-1))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc, server
}

func run(t *testing.T, k *process.Keeper) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	ended := make(chan error, 1)
	go func() { ended <- k.Run(ctx) }()
	return func() error {
		cancel()
		return <-ended
	}
}

func TestKeeperWaitsForWhatIsMissingAndStartsAgain(t *testing.T) {
	nc, _ := connect(t)
	var missing atomic.Bool
	missing.Store(true)
	gone := errors.New("there are no streams")
	var started atomic.Int32
	look := func(context.Context) error {
		if missing.Load() {
			return gone
		}
		return nil
	}
	k := &process.Keeper{
		NATS: nc, Servers: "nats://test", Logger: slog.New(slog.DiscardHandler), Pause: time.Millisecond, Interval: time.Millisecond,
		Start: func(ctx context.Context) (process.Work, error) {
			if err := look(ctx); err != nil {
				return nil, err
			}
			started.Add(1)
			return &work{}, nil
		},
		Probe: look,
	}
	require.EqualError(t, k.Ready(), "starting")
	stop := run(t, k)
	eventually(t, func() bool { return errors.Is(k.Ready(), gone) }, "says what is missing")

	missing.Store(false)
	eventually(t, func() bool { return k.Ready() == nil }, "starts when it is there")
	missing.Store(true)
	eventually(t, func() bool { return errors.Is(k.Ready(), gone) }, "stops when it goes")
	missing.Store(false)
	eventually(t, func() bool { return k.Ready() == nil && started.Load() == 2 }, "starts again")

	require.NoError(t, stop())
	require.EqualError(t, k.Ready(), "stopping")
}

// stuck is work that runs and gets nothing done.
type stuck struct {
	work

	why error
}

func (s *stuck) Impediment() error { return s.why }

func TestKeeperSaysWhatIsInTheWay(t *testing.T) {
	nc, _ := connect(t)
	why := errors.New("the wrong key")
	for _, want := range []error{why, nil} {
		w := &stuck{why: want}
		k := &process.Keeper{
			NATS: nc, Logger: slog.New(slog.DiscardHandler),
			Start: func(context.Context) (process.Work, error) { return w, nil },
			Probe: func(context.Context) error { return nil },
		}
		stop := run(t, k)
		eventually(t, w.Ready, "runs")
		require.ErrorIs(t, k.Ready(), want)
		assert.True(t, w.Ready(), "it is not stopped")
		require.NoError(t, stop())
	}
}

func TestKeeperIsNotReadyWhileNATSIsAwayAndKeepsTheWork(t *testing.T) {
	nc, server := connect(t)
	w := &work{}
	k := &process.Keeper{
		NATS: nc, Servers: "nats://test", Logger: slog.New(slog.DiscardHandler), Pause: time.Millisecond, Interval: time.Millisecond,
		Start: func(context.Context) (process.Work, error) { return w, nil },
		Probe: func(context.Context) error { return nil },
	}
	stop := run(t, k)
	eventually(t, func() bool { return k.Ready() == nil }, "works")
	server.Stop()
	eventually(t, func() bool { return !nc.IsConnected() }, "the connection is lost")
	require.ErrorContains(t, k.Ready(), "no connection to NATS at nats://test")
	assert.True(t, w.Ready(), "the work waits for the server; it is not stopped")
	require.NoError(t, stop())
}

func TestKeeperTellsOfWorkThatFailed(t *testing.T) {
	nc, _ := connect(t)
	w := &work{result: make(chan error, 1)}
	k := &process.Keeper{
		NATS: nc, Servers: "nats://test", Logger: slog.New(slog.DiscardHandler),
		Start: func(context.Context) (process.Work, error) { return w, nil },
		Probe: func(context.Context) error { return nil },
	}
	broken := errors.New("broken")
	w.result <- broken
	require.ErrorIs(t, k.Run(t.Context()), broken)
}

func TestKeeperTellsOfTroubleAndKeepsTheWork(t *testing.T) {
	nc, _ := connect(t)
	var trouble atomic.Bool
	missing := errors.New("a stream is missing")
	var started atomic.Int32
	w := &work{}
	k := &process.Keeper{
		NATS: nc, Servers: "nats://test", Logger: slog.New(slog.DiscardHandler), Pause: time.Millisecond, Interval: time.Millisecond,
		Start: func(context.Context) (process.Work, error) { started.Add(1); return w, nil },
		Probe: func(context.Context) error { return nil },
		Trouble: func(context.Context) error {
			if trouble.Load() {
				return missing
			}
			return nil
		},
	}
	stop := run(t, k)
	eventually(t, func() bool { return k.Ready() == nil }, "works")
	trouble.Store(true)
	eventually(t, func() bool { return errors.Is(k.Ready(), missing) }, "says what is missing")
	assert.True(t, w.Ready(), "the work waits for it; it is not stopped")
	trouble.Store(false)
	eventually(t, func() bool { return k.Ready() == nil }, "is ready again")
	require.NoError(t, stop())
	assert.EqualValues(t, 1, started.Load())
}

func TestKeeperTellsOfAPermissionThatIsMissing(t *testing.T) {
	users := []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{"allowed"}}}}}
	guarded, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true, Users: users})
	require.NoError(t, err)
	guarded.Start()
	t.Cleanup(guarded.Shutdown)
	nc, err := nats.Connect("", nats.InProcessServer(guarded), nats.UserInfo("u", "p"))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	k := &process.Keeper{
		NATS: nc, Servers: "nats://test", Logger: slog.New(slog.DiscardHandler), Pause: time.Millisecond, Interval: time.Millisecond,
		Start: func(context.Context) (process.Work, error) {
			if err := errors.Join(nc.Publish("forbidden", nil), nc.Flush()); err != nil {
				return nil, err
			}
			return nil, fmt.Errorf("look something up: %w", context.DeadlineExceeded)
		},
	}
	stop := run(t, k)
	eventually(t, func() bool { return errors.Is(k.Ready(), nats.ErrPermissionViolation) }, "says what was refused")
	require.ErrorContains(t, k.Ready(), `Permissions Violation for Publish to "forbidden"; give this user the permissions`)
	require.NoError(t, stop())
}
