package receiver_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/receiver"
	"github.com/handfast/handfast/pkg/signature"
)

func TestNewTellsEveryProblem(t *testing.T) {
	_, err := receiver.New(receiver.Options{Keys: []signature.Verifier{{}}, Tolerance: -1, MaxBody: -1})
	for _, words := range []string{"Clients is empty", "Keys[0] was not made from a key", "Tolerance is -1ns", "MaxBody is -1"} {
		require.ErrorContains(t, err, words)
	}
	_, err = receiver.New(receiver.Options{})
	assert.ErrorContains(t, err, "Keys is empty")
}

func TestNewChecksClients(t *testing.T) {
	_, verifier, err := newKey(signature.V1a)
	require.NoError(t, err)
	make1 := func(name string) error {
		_, err := receiver.New(receiver.Options{Clients: []string{name}, Keys: []signature.Verifier{verifier}})
		return err
	}
	for _, name := range []string{"localhost", "Webhooks.Sender.example", "xn--bcher-kva.example", "spiffe://example.com/sender", "https://example.com", "urn:sender:1", "a_b.example"} {
		require.NoError(t, make1(name), name)
	}
	for name, words := range map[string]string{
		"":                              "empty",
		"*.example.com":                 "wildcards",
		"CN=webhooks.example":           "distinguished name",
		"192.0.2.1":                     "IP address",
		"2001:db8::1":                   "IP address",
		"[2001:db8::1]":                 "IP address",
		"a..example":                    "not a DNS name",
		"example.com.":                  "not a DNS name",
		"-a.example":                    "not a DNS name",
		"a b":                           "not a DNS name",
		"bücher.example":                "not a DNS name",
		strings.Repeat("a", 64):         "not a DNS name",
		strings.Repeat("a.", 140) + "b": "longer than",
		"spiffe:///sender":              "needs a scheme and a host",
		"SPIFFE://example.com/a":        "write spiffe://example.com/a",
		"http://[::1":                   "not a URI",
	} {
		assert.ErrorContains(t, make1(name), words, name)
	}
}
