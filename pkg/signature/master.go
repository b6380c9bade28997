package signature

import (
	"io"

	"github.com/handfast/handfast/pkg/seal"
)

// MasterKeySize is the length of a master key in bytes (AES-256).
const MasterKeySize = seal.MasterKeySize

// MasterKey seals rings at rest. It is the master key of package seal.
type MasterKey = seal.MasterKey

// GenerateMasterKey is [seal.GenerateMasterKey].
func GenerateMasterKey(random io.Reader) (MasterKey, error) { return seal.GenerateMasterKey(random) }

// ParseMasterKey is [seal.ParseMasterKey]. The error wraps [ErrInvalidMasterKey]
// and never repeats the key.
func ParseMasterKey(text string) (MasterKey, error) { return seal.ParseMasterKey(text) }

// LoadMasterKey is [seal.LoadMasterKey]. The error wraps [ErrInvalidMasterKey].
func LoadMasterKey(path string) (MasterKey, error) { return seal.LoadMasterKey(path) }
