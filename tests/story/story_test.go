package story

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

// patience bounds every wait of a story; none takes a tenth of it.
const patience = 20 * time.Second

func TestStories(t *testing.T) {
	dependOn(t, "../../services", "../../pkg", "../../schemas", "../../go.mod")
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, "handfast"), "../../services/handfast")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	testscript.Run(t, testscript.Params{
		Dir: "testdata", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("HOME", e.WorkDir)
			// Nobody listens there: a story without `dev` has no server.
			e.Setenv("HANDFAST_SERVER", "nats://127.0.0.1:1")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"dev": dev, "until": until, "let": let, "mint": mint},
	})
}

// dependOn looks at every file, so that the test cache knows what the stories are about: it sees no program that is run.
func dependOn(t *testing.T, roots ...string) {
	t.Helper()
	for _, root := range roots {
		require.NoError(t, filepath.WalkDir(root, func(name string, _ fs.DirEntry, err error) error {
			if err == nil {
				_, err = os.Stat(name)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil // an editor's file that is gone again
			}
			return err
		}))
	}
}

// dev starts `handfast dev` on a free port and names it in HANDFAST_SERVER. It ends with the story.
func dev(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: dev")
	}
	command := program(context.Background(), ts, "handfast", "dev", "--listen", "127.0.0.1:0", "--http", "")
	var log bytes.Buffer
	command.Stderr = &log
	out, err := command.StdoutPipe()
	ts.Check(err)
	ts.Check(command.Start())
	server := make(chan string, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		address := regexp.MustCompile(`nats://127\.0\.0\.1:\d+`)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if url := address.FindString(lines.Text()); url != "" {
				select {
				case server <- url:
				default:
				}
			}
		}
	}()
	stop := func() {
		ts.Check(command.Process.Signal(os.Interrupt))
		<-ended
		ts.Check(command.Wait())
	}
	select {
	case url := <-server:
		ts.Setenv("HANDFAST_SERVER", url)
		ts.Defer(stop)
	case <-ended:
		_ = command.Wait()
		ts.Fatalf("handfast dev ended: %s", log.String())
	case <-time.After(patience):
		_ = command.Process.Kill()
		ts.Fatalf("handfast dev did not come up")
	}
}

// until runs a command again and again until it succeeds and its output matches a pattern.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN COMMAND [ARG…]")
	}
	pattern, err := regexp.Compile(`(?m)` + args[0])
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		command := program(ctx, ts, args[1], args[2:]...)
		out, err := command.CombinedOutput()
		if err == nil && pattern.Match(out) {
			_, _ = ts.Stdout().Write(out)
			return
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			ts.Fatalf("%s never matched %q; at last (%v):\n%s", strings.Join(args[1:], " "), args[0], err, out)
		}
	}
}

// let puts the first group of a pattern, found in the output before, into a variable.
func let(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: let NAME PATTERN")
	}
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	found := pattern.FindStringSubmatch(ts.ReadFile("stdout"))
	if len(found) < 2 {
		ts.Fatalf("%q is not in the output before", args[1])
	}
	ts.Setenv(args[0], found[1])
}

// program is a command in the story's directory and environment.
func program(ctx context.Context, ts *testscript.TestScript, name string, args ...string) *exec.Cmd {
	found := name
	for dir := range strings.SplitSeq(ts.Getenv("PATH"), string(os.PathListSeparator)) {
		if at := filepath.Join(dir, name); runnable(at) {
			found = at
			break
		}
	}
	command := exec.CommandContext(ctx, found, args...)
	command.Dir = ts.MkAbs(".")
	command.Stdin = strings.NewReader("")
	for _, variable := range []string{"PATH", "HOME", "HANDFAST_SERVER"} {
		command.Env = append(command.Env, fmt.Sprintf("%s=%s", variable, ts.Getenv(variable)))
	}
	return command
}

func runnable(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode()&0o111 != 0
}
