package local

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/pkg/seal"
)

// ClientName is the name under which a local dispatcher calls: the URI in its certificate.
const ClientName = "spiffe://handfast.local/dispatcher"

// Names of the files of development.
const (
	masterKeyFile = "master.key"
	// IdentityKeyFile opens the stored identities.
	IdentityKeyFile = "identity.key"
)

// serverLifetime is that of the certificates that the development authority issues to `handfast listen`.
const serverLifetime = 30 * 24 * time.Hour

func openAuthority(dir string) (*authority.Authority, error) {
	name := filepath.Join(dir, "authority.pem")
	text, err := os.ReadFile(name) //nolint:gosec // the operator's own directory
	switch {
	case err == nil:
		ca, err := authority.Load(text, authority.WithLeafLifetime(serverLifetime))
		if err != nil {
			return nil, fmt.Errorf("development authority %s: %w", name, err)
		}
		return ca, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read development authority: %w", err)
	}
	ca, err := authority.New("Handfast development authority", authority.WithLeafLifetime(serverLifetime))
	if err != nil {
		return nil, fmt.Errorf("make development authority: %w", err)
	}
	text, err = ca.Marshal()
	if err != nil {
		return nil, fmt.Errorf("write development authority: %w", err)
	}
	return ca, writePrivate(name, text)
}

// openMasterKey reads a master key, and makes it at first. A key of the signer and one of the dispatcher are of the same
// form, and not the same.
func openMasterKey(dir, file string) (seal.MasterKey, error) {
	name := filepath.Join(dir, file)
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		key, err := seal.GenerateMasterKey(rand.Reader)
		if err != nil {
			return seal.MasterKey{}, fmt.Errorf("make the development key %s: %w", name, err)
		}
		if err := writePrivate(name, []byte(key.Reveal()+"\n")); err != nil {
			return seal.MasterKey{}, err
		}
	}
	key, err := seal.LoadMasterKey(name)
	if err != nil {
		return seal.MasterKey{}, fmt.Errorf("development key %s: %w", name, err)
	}
	return key, nil
}

// writePrivate replaces a file in one step, so that a crash leaves the old one or the new one.
func writePrivate(name string, content []byte) error {
	temporary := name + ".new"
	if err := os.WriteFile(temporary, content, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.Rename(temporary, name); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
