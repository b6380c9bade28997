package mtls_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
)

// watched is a file source in a bubble, with everything it said.
type watched struct {
	t           *testing.T
	directory   string
	certificate string
	key         string
	ca          *authority.Authority
	source      *mtls.FileSource

	mu      sync.Mutex
	log     bytes.Buffer
	renewed []*mtls.Identity
}

// Write takes a line of the log.
func (w *watched) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(line)
}

func (w *watched) onChange(i *mtls.Identity) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.renewed = append(w.renewed, i)
}

func (w *watched) said() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

func (w *watched) changes() []*mtls.Identity {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.renewed)
}

// watch runs a story with a source that has been started on a pair named "first".
func watch(t *testing.T, story func(*watched)) {
	t.Helper()
	directory := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &watched{
			t: t, directory: directory, ca: newTestAuthority(t, "root"),
			certificate: filepath.Join(directory, "tls.crt"), key: filepath.Join(directory, "tls.key"),
		}
		first := clientPair(t, w.ca, "first")
		w.write(w.certificate, first.certificate)
		w.write(w.key, first.key)
		w.run(story)
	})
}

func (w *watched) run(story func(*watched)) {
	var err error
	w.source, err = mtls.WatchFiles("acme", w.certificate, w.key, mtls.FileOptions{
		Logger:   slog.New(slog.NewTextHandler(w, nil)),
		OnChange: w.onChange,
	})
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.source.Run(ctx) }()
	story(w)
	cancel()
	require.NoError(w.t, <-ended)
}

func (w *watched) write(name string, content []byte) {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile(name, content, 0o600))
}

// replace renames a new file over an old one.
func (w *watched) replace(name string, content []byte) {
	w.t.Helper()
	w.write(name+".new", content)
	require.NoError(w.t, os.Rename(name+".new", name))
}

// pass lets virtual time pass and everything settle.
func (w *watched) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (w *watched) subject() string {
	w.t.Helper()
	i, err := w.source.Identity()
	require.NoError(w.t, err)
	return i.Leaf().Subject.CommonName
}

func (w *watched) logged(level string) int {
	return strings.Count(w.said(), "level="+level)
}
