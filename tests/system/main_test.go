// Package system runs Handfast as it is installed: processes, sockets, disks and kill -9. What needs no process is told
// faster and more exactly in tests/scenario.
package system

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"
)

// serveNATS, in the environment, turns this test binary into a NATS server on a directory and an address, "dir=address".
// No machine has to have a nats-server installed for the tests, and it is a process that can be killed.
const serveNATS = "HANDFAST_SYSTEM_NATS"

// ownBinary, in the environment, names a handfast binary to test in place of one built from the tree.
const ownBinary = "HANDFAST_SYSTEM_BINARY"

func TestMain(m *testing.M) {
	if at := os.Getenv(serveNATS); at != "" {
		if err := runNATS(at); err != nil {
			fmt.Fprintln(os.Stderr, "NATS server:", err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

func runNATS(at string) error {
	dir, address := filepath.Split(at)
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	options := &server.Options{ServerName: "system", Host: host, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true}
	if options.Port, err = strconv.Atoi(port); err != nil {
		return err
	}
	s, err := server.NewServer(options)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s.Start()
	<-ctx.Done()
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

// built is the handfast binary, compiled at most once.
var built struct {
	once sync.Once
	dir  string
	err  error
}

// binary gives the path of the handfast command.
func binary(t *testing.T) string {
	t.Helper()
	if own := os.Getenv(ownBinary); own != "" {
		return own
	}
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "handfast-system-"); built.err != nil { //nolint:usetesting // all tests use it; TestMain removes it
			return
		}
		// Bounded, because the machine may be busy compiling something else.
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(built.dir, "handfast"), "../../services/handfast").CombinedOutput()
		if err != nil {
			built.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	require.NoError(t, built.err)
	return filepath.Join(built.dir, "handfast")
}
