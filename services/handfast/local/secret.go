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
	"github.com/handfast/handfast/pkg/signature"
)

// ClientName is the name under which a local dispatcher calls: the URI in its certificate.
const ClientName = "spiffe://handfast.local/dispatcher"

// identityLifetime is long for a leaf, because nothing renews it while development is paused; it is issued anew at every
// start.
const identityLifetime = 30 * 24 * time.Hour

func openAuthority(dir string) (*authority.Authority, error) {
	name := filepath.Join(dir, "authority.pem")
	text, err := os.ReadFile(name) //nolint:gosec // the operator's own directory
	switch {
	case err == nil:
		ca, err := authority.Load(text, authority.WithLeafLifetime(identityLifetime))
		if err != nil {
			return nil, fmt.Errorf("development authority %s: %w", name, err)
		}
		return ca, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read development authority: %w", err)
	}
	ca, err := authority.New("Handfast development authority", authority.WithLeafLifetime(identityLifetime))
	if err != nil {
		return nil, fmt.Errorf("make development authority: %w", err)
	}
	text, err = ca.Marshal()
	if err != nil {
		return nil, fmt.Errorf("write development authority: %w", err)
	}
	return ca, writePrivate(name, text)
}

// issueIdentity writes the dispatcher's certificate and key as files, because files are where real ones come from.
func issueIdentity(dir string, ca *authority.Authority) (certificateFile, keyFile string, err error) {
	certificatePEM, keyPEM, err := ca.Client(ClientName)
	if err != nil {
		return "", "", fmt.Errorf("issue the development identity: %w", err)
	}
	certificateFile, keyFile = filepath.Join(dir, "identity.crt.pem"), filepath.Join(dir, "identity.key.pem")
	return certificateFile, keyFile, errors.Join(writePrivate(keyFile, keyPEM), writePrivate(certificateFile, certificatePEM))
}

func openVault(dir string) (signature.Vault, error) {
	name := filepath.Join(dir, "master.key")
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		key, err := signature.GenerateMasterKey(rand.Reader)
		if err != nil {
			return signature.Vault{}, fmt.Errorf("make the development master key: %w", err)
		}
		if err := writePrivate(name, []byte(key.Reveal()+"\n")); err != nil {
			return signature.Vault{}, err
		}
	}
	key, err := signature.LoadMasterKey(name)
	if err != nil {
		return signature.Vault{}, fmt.Errorf("development master key: %w", err)
	}
	return signature.Vault{Current: key}, nil
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
