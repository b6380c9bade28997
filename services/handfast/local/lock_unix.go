//go:build unix

package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lock keeps the directory for this process. The kernel lets go of it when the process ends, however it ends. The file
// tells others who it is.
func lock(dir string) (release func() error, err error) {
	name := filepath.Join(dir, "lock")
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the operator's own directory
	if err != nil {
		return nil, notWritable(dir, err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer func() { _ = file.Close() }() // it was only looked at
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, inUse(dir, file)
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	if err := errors.Join(file.Truncate(0), write(file, strconv.Itoa(os.Getpid())+"\n")); err != nil {
		return nil, errors.Join(notWritable(dir, err), file.Close())
	}
	return file.Close, nil
}

func write(file *os.File, text string) error {
	_, err := file.WriteAt([]byte(text), 0)
	return err //nolint:wrapcheck // names the file
}

func inUse(dir string, file *os.File) error {
	who := "another process"
	text := make([]byte, 32)
	if n, _ := file.ReadAt(text, 0); n > 0 { // the end of the file is no error here
		who = "process " + strings.TrimSpace(string(text[:n]))
	}
	return fmt.Errorf("directory %s is in use by %s; stop that one, or choose another directory with --dir", dir, who)
}
