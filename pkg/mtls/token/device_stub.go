//go:build !cgo

package token

func openDevice(Config, pin) (*device, error) { return nil, ErrWithoutCgo }

func createKey(Config, pin, KeyKind) (*device, error) { return nil, ErrWithoutCgo }
