package receiver_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/receiver"
	"github.com/handfast/handfast/pkg/signature"
)

func TestNewTellsEveryProblem(t *testing.T) {
	_, err := receiver.New(receiver.Options{
		Keys: []signature.Verifier{{}}, Tolerance: -1, MaxBody: -1, MaxHeader: -1, Remember: -1, HandlerTimeout: -1, Terminator: &receiver.Terminator{},
	})
	for _, words := range []string{"Clients is empty", "Keys[0] was not made from a key", "Tolerance is -1ns", "MaxBody is -1", "MaxHeader is -1", "Remember is -1ns", "HandlerTimeout is -1ns", "Terminator: "} {
		require.ErrorContains(t, err, words)
	}
	_, err = receiver.New(receiver.Options{})
	require.ErrorContains(t, err, "Keys is empty")
	_, err = receiver.New(receiver.Options{Tolerance: time.Hour, Remember: 119 * time.Minute})
	require.ErrorContains(t, err, "Remember is 1h59m0s")
	_, err = receiver.New(receiver.Options{Tolerance: 100 * time.Hour})
	assert.NotContains(t, err.Error(), "Remember", "what was left out adapts")
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
