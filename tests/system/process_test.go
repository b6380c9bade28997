package system

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// process is a program that is killed and started again with the same command line. It never outlives its test.
type process struct {
	t           *testing.T
	name, path  string
	arguments   []string
	environment []string
	log         string // a file, for all its lives
	command     *exec.Cmd
	ended       chan struct{}
	starts      int
}

// launch starts a program whose output goes to a file in dir, which is shown when the test fails.
func launch(t *testing.T, dir, name, path string, environment []string, arguments ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, path: path, arguments: arguments, environment: environment, log: filepath.Join(dir, name+".log")}
	p.start()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("the end of what %s said:\n%s", name, p.tail(8<<10))
		}
	})
	return p
}

func (p *process) start() {
	p.t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(p.t, err)
	defer log.Close()
	// Not bound to the test's context: the cleanup kills, at any end of the test.
	p.command = exec.Command(p.path, p.arguments...)
	p.command.Env = append(os.Environ(), p.environment...)
	p.command.Stdout, p.command.Stderr = log, log
	p.command.SysProcAttr = ownGroup()
	require.NoError(p.t, p.command.Start(), p.name)
	p.starts++
	ended, command := make(chan struct{}), p.command
	p.ended = ended
	go func() {
		_ = command.Wait()
		close(ended)
	}()
}

// kill sends SIGKILL to the process and all that it started, and returns when it is gone.
func (p *process) kill() {
	if p.command == nil {
		return
	}
	select {
	case <-p.ended: // its number may belong to somebody else by now
	default:
		_ = syscall.Kill(-p.command.Process.Pid, syscall.SIGKILL)
		<-p.ended
	}
	p.command = nil
}

// alive fails the test when the process has ended without being killed.
func (p *process) alive() {
	p.t.Helper()
	select {
	case <-p.ended:
		assert.Fail(p.t, p.name+" has ended by itself", p.tail(2<<10))
	default:
	}
}

func (p *process) tail(most int) string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	if len(text) > most {
		text = text[len(text)-most:]
		if _, rest, found := bytes.Cut(text, []byte("\n")); found {
			text = rest
		}
	}
	return string(text)
}

// freeAddress is a loopback address on which nothing listens at the moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

// launchNATS starts a NATS server with JetStream on dir.
func launchNATS(t *testing.T, logs, dir, address string) *process {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	return launch(t, logs, "nats", self, []string{serveNATS + "=" + filepath.Join(dir, address)})
}
