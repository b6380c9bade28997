package token

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAPINIsNeverShown(t *testing.T) {
	secret := newPIN("7391")
	shown := struct {
		Secret pin `json:"secret"`
	}{secret}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", slog.Any("pin", secret), slog.Any("inside", shown))
	text, err := json.Marshal(shown)
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		log.WriteString(fmt.Sprintf(verb, secret) + fmt.Sprintf(verb, &secret) + fmt.Sprintf(verb, shown))
	}
	log.Write(text)
	assert.NotContains(t, log.String(), "7391")
	assert.NotContains(t, log.String(), "37333931", "in hexadecimal")
	assert.Contains(t, log.String(), hidden)
}

func TestPINSourcesAreRead(t *testing.T) {
	directory := t.TempDir()
	file := func(name, content string) PINSource {
		path := filepath.Join(directory, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return PINSource{File: path}
	}
	t.Setenv("HANDFAST_TEST_PIN", " 7391 ")
	t.Setenv("HANDFAST_TEST_EMPTY", "")
	for name, source := range map[string]PINSource{"file": file("good", "7391\n"), "environment": {Environment: "HANDFAST_TEST_PIN"}} {
		secret, err := source.read()
		require.NoError(t, err, name)
		assert.Equal(t, "7391", *secret.text, name)
	}
	for want, source := range map[string]PINSource{
		"is empty":                            file("empty", " \n"),
		"holds more than one line":            file("lines", "7391\n7392\n"),
		"holds more than 255 bytes":           file("long", string(bytes.Repeat([]byte("7391"), 64))),
		"is not a regular file":               {File: directory},
		"no such file":                        {File: filepath.Join(directory, "none")},
		"_TEST_EMPTY is empty":                {Environment: "HANDFAST_TEST_EMPTY"},
		"HANDFAST_TEST_NONE is not set":       {Environment: "HANDFAST_TEST_NONE"},
		"is larger than 1048576 bytes":        file("huge", string(make([]byte, maxFileSize+1))),
		"environment variable HANDFAST_TEST_": {Environment: "HANDFAST_TEST_EMPTY"},
	} {
		_, err := source.read()
		require.ErrorContains(t, err, "the PIN cannot be read: ")
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "7391")
	}
}
