package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/services/handfast/configuration"
	"github.com/handfast/handfast/services/handfast/listener"
	"github.com/handfast/handfast/services/handfast/local"
)

func TestHandshakeIsPrintedInFull(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	h := listener.Handshake{
		At: at, Remote: "127.0.0.1:5000", Took: 1500 * time.Microsecond,
		Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", Curve: "X25519MLKEM768", Protocol: "h2", ServerName: "localhost",
		Chain: []listener.Certificate{
			{Subject: "CN=one\x1b[2J", Issuer: "CN=two", Names: []string{"spiffe://a/b", "c"}, NotBefore: at, NotAfter: at.Add(time.Hour), Fingerprint: "ab"},
			{Subject: "CN=two", Issuer: "CN=three", NotBefore: at, NotAfter: at.Add(time.Hour), Fingerprint: "cd"},
		},
		Checked: []string{"valid now", "name spiffe://a/b compared whole"},
	}
	var out, err bytes.Buffer
	printHandshake(streams{out: &out, err: &err}, h)
	assert.Empty(t, out.String(), "standard output is for deliveries")
	text := err.String()
	assert.NotContains(t, text, "\x1b", "a certificate cannot write to the terminal")
	for _, line := range []string{
		"2026-11-24T12:00:00Z  handshake with 127.0.0.1:5000 after 1.5ms: TLS 1.3, TLS_AES_128_GCM_SHA256, X25519MLKEM768, h2, asked for localhost\n",
		", names spiffe://a/b c, issued by CN=two, from 2026-11-24T12:00:00Z until 2026-11-24T13:00:00Z, sha256 ab\n",
		"\n  then     CN=two, issued by CN=three, ",
		"\n  checked  valid now; name spiffe://a/b compared whole\n",
	} {
		assert.Contains(t, text, line)
	}

	err.Reset()
	printHandshake(streams{out: &out, err: &err}, listener.Handshake{At: at, Remote: "127.0.0.1:5000", Refusal: "tls: client didn't provide a certificate"})
	assert.Equal(t, "2026-11-24T12:00:00Z  handshake failed with 127.0.0.1:5000 after 0s: nothing was agreed\n  refused  tls: client didn't provide a certificate\n", err.String())
}

// The listener may not know the package that issues the dispatcher's certificate, and the flag is a text.
func TestDevelopmentHasOneCallersName(t *testing.T) {
	assert.Equal(t, local.ClientName, listener.DefaultClient)
	parser, err := newParser(t.Context(), configuration.NewReader(), streams{}, func(int) {})
	require.NoError(t, err)
	for _, node := range parser.Model.Children {
		for _, flag := range node.Flags {
			if node.Name == "listen" && flag.Name == "client" {
				assert.Equal(t, local.ClientName, flag.Default)
				return
			}
		}
	}
	t.Fatal("handfast listen has no --client")
}
