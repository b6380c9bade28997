package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/handfast/handfast/pkg/seal"
	"github.com/handfast/handfast/pkg/seal/kms"
)

// keySource says where a master key is, and those before it.
type keySource struct {
	// flag is what the flags are called without their ends: master-key or identity-key.
	flag string
	file string
	// variable may hold what would be in the file; "" for none.
	variable string
	// kms is the URL of the service that has wrapped the key, "" for a plain one.
	kms      string
	previous []string
}

// heldKey is a master key, or one that a KMS has to open first.
type heldKey struct {
	plain   seal.MasterKey
	wrapped seal.WrappedKey
}

// keyChain is what a source has, read and not yet opened.
type keyChain struct {
	flag, kms string
	current   heldKey
	previous  []heldKey
}

// read reads every key without asking a KMS. The error lists all that is wrong, a line each, and begins with the flags.
func (s keySource) read() (keyChain, error) {
	chain := keyChain{flag: s.flag, kms: s.kms}
	var problems []error
	if s.kms != "" {
		if err := kms.Check(s.kms); err != nil {
			problems = append(problems, fmt.Errorf("--%s-kms: %w", s.flag, err))
		}
	}
	text, set := os.LookupEnv(s.variable)
	set = set && s.variable != ""
	var err error
	switch {
	case set && s.file != "":
		problems = append(problems, fmt.Errorf("--%s-file: the key stands in %s already; give one of them", s.flag, s.variable))
	case set:
		if chain.current, err = s.parse([]byte(text)); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", s.variable, err))
		}
	case s.file == "" && s.variable != "":
		problems = append(problems, fmt.Errorf("--%s-file: is needed, or the key itself in %s; `openssl rand -hex 32` makes one", s.flag, s.variable))
	default:
		if chain.current, err = s.load(s.file); err != nil {
			problems = append(problems, fmt.Errorf("--%s-file: %w", s.flag, err))
		}
	}
	for _, name := range s.previous {
		// One of before may be of the other sort: that is how a key gets into a KMS.
		held, err := s.loadAny(name)
		if err != nil {
			problems = append(problems, fmt.Errorf("--previous-%s-file: %w", s.flag, err))
		}
		chain.previous = append(chain.previous, held)
	}
	return chain, errors.Join(problems...)
}

func (s keySource) parse(text []byte) (held heldKey, err error) {
	if s.kms != "" {
		held.wrapped, err = seal.ParseWrapped(text)
		return held, err //nolint:wrapcheck // says what and what to do
	}
	held.plain, err = seal.ParseMasterKey(string(text))
	return held, err //nolint:wrapcheck // as above
}

// load wants a wrapped key exactly where a KMS is named: a plain one would pass for protected.
func (s keySource) load(name string) (held heldKey, err error) {
	if s.kms != "" {
		held.wrapped, err = seal.LoadWrapped(name)
		return held, err //nolint:wrapcheck // says what, where and what to do
	}
	held.plain, err = seal.LoadMasterKey(name)
	return held, err //nolint:wrapcheck // as above
}

func (s keySource) loadAny(name string) (held heldKey, err error) {
	if s.kms != "" {
		if held.wrapped, err = seal.LoadWrapped(name); err == nil {
			return held, nil
		}
	}
	held.plain, err = seal.LoadMasterKey(name)
	return held, err //nolint:wrapcheck // says what, where and what to do
}

// open asks the KMS, if there is one, for every key that it has wrapped.
func (c keyChain) open(ctx context.Context) (seal.Vault, error) {
	if c.kms == "" {
		return c.vault(func(held heldKey) (seal.MasterKey, error) { return held.plain, nil })
	}
	keeper, err := kms.Open(ctx, c.kms)
	if err != nil {
		return seal.Vault{}, fmt.Errorf("--%s-kms: the master key stays closed: %w", c.flag, err)
	}
	defer keeper.Close() //nolint:errcheck // it has been asked what there was to ask
	return c.vault(func(held heldKey) (seal.MasterKey, error) {
		if held.plain.ID() != "" {
			return held.plain, nil
		}
		key, err := held.wrapped.Open(ctx, keeper)
		if err != nil {
			return key, fmt.Errorf("--%s-kms: the master key stays closed, so nothing can be opened or sealed: %w", c.flag, err)
		}
		return key, nil
	})
}

func (c keyChain) vault(open func(heldKey) (seal.MasterKey, error)) (vault seal.Vault, err error) {
	if vault.Current, err = open(c.current); err != nil {
		return seal.Vault{}, err
	}
	for _, held := range c.previous {
		key, err := open(held)
		if err != nil {
			return seal.Vault{}, err
		}
		vault.Previous = append(vault.Previous, key)
	}
	return vault, nil
}

// openingVault opens the keys of a service at most once: what is open stays open until the process ends, also when
// the KMS is away or refuses by then.
type openingVault struct {
	chain keyChain

	mu     sync.Mutex
	opened *seal.Vault
}

// get opens what is not open yet. The error is a reason to try again.
func (o *openingVault) get(ctx context.Context) (seal.Vault, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.opened != nil {
		return *o.opened, nil
	}
	vault, err := o.chain.open(ctx)
	if err != nil {
		return seal.Vault{}, err
	}
	o.opened = &vault
	return vault, nil
}
