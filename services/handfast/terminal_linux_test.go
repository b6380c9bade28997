package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/handfast/handfast/services/handfast/table"
)

func TestATableIsAsWideAsTheTerminal(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no terminal can be made here: ", err)
	}
	defer terminal.Close()
	require.NoError(t, unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}))
	t.Setenv("COLUMNS", "")
	assert.Equal(t, 80, lineWidth(terminal), "shells do not hand COLUMNS on, so the terminal is asked")
	t.Setenv("COLUMNS", "132")
	assert.Equal(t, 132, lineWidth(terminal), "who says so is obeyed")

	t.Setenv("COLUMNS", "")
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	require.NoError(t, err)
	defer file.Close()
	assert.Equal(t, table.Unlimited, lineWidth(file), "a file has no width of its own")
}
