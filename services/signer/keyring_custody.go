package signer

import (
	"context"
	"errors"

	"github.com/handfast/handfast/pkg/signature"
)

// UseCustody says who signs for keys that stay in tokens. Without it they sign nothing, and say so. It is called before
// the keyring is used.
func (k *Keyring) UseCustody(custody signature.Custody) { k.custody = custody }

// noCustody has no tokens.
type noCustody struct{}

func (noCustody) Sign(context.Context, string, []byte) ([]byte, error) {
	return nil, errors.New("the key is in a token, and this process was not told which libraries of tokens it may load; start every signer with --token-module")
}
