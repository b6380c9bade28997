package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"
	"strings"
	"sync"
)

// stamper returns a function that computes the stamp of some parts under a key of its own, which is derived from the
// master key so that a stamp tells nothing about what the master key seals.
func stamper(raw []byte) func(purpose string, parts [][]byte) []byte {
	derive := hmac.New(sha256.New, raw)
	derive.Write([]byte("handfast stamp key"))
	key := derive.Sum(nil)
	// A stamp is made for every request, and setting up an HMAC costs more than stamping a small one.
	pool := sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}
	return func(purpose string, parts [][]byte) []byte {
		mac := pool.Get().(hash.Hash) //nolint:forcetypeassert,errcheck // nothing else goes in
		defer pool.Put(mac)
		mac.Reset()
		// Every part comes with its length, so that no two lists of parts read alike.
		var length [8]byte
		write := func(part []byte) {
			binary.BigEndian.PutUint64(length[:], uint64(len(part)))
			mac.Write(length[:])
			mac.Write(part)
		}
		write([]byte(purpose))
		for _, part := range parts {
			write(part)
		}
		return mac.Sum(nil)
	}
}

// Stamp returns a text by which whoever holds the same master key can tell later that it was here that these parts were
// seen, in this order and for this purpose: "<master key id>.<base64url of an HMAC-SHA256>". It hides nothing. The error
// wraps [ErrInvalidMasterKey] for a vault without a current master key.
func (v Vault) Stamp(purpose string, parts ...[]byte) (string, error) {
	if v.Current.stamp == nil {
		return "", fmt.Errorf("%w: there is none to stamp with", ErrInvalidMasterKey)
	}
	return v.Current.id + "." + base64.RawURLEncoding.EncodeToString(v.Current.stamp(purpose, parts)), nil
}

// CheckStamp reports whether [Vault.Stamp] made the stamp for exactly these parts and purpose, with any of the master
// keys that the vault holds. The error wraps [ErrWrongMasterKey] if the vault does not hold the master key that the stamp
// names, and [ErrCorrupt] if there is no stamp or it belongs to something else.
func (v Vault) CheckStamp(stamp, purpose string, parts ...[]byte) error {
	id, text, ok := strings.Cut(stamp, ".")
	given, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(given) != sha256.Size || len(id) != masterIDSize {
		return fmt.Errorf("%w: the stamp is missing or is none", ErrCorrupt)
	}
	for _, m := range v.held() {
		if m.id != id {
			continue
		}
		if !hmac.Equal(given, m.stamp(purpose, parts)) {
			return fmt.Errorf("%w: the stamp was made for something else", ErrCorrupt)
		}
		return nil
	}
	return fmt.Errorf("%w: the stamp was made with %q; add that master key to the previous ones", ErrWrongMasterKey, id)
}
