package signature

import (
	"encoding/base64"
	"fmt"
)

// hmacScheme is v1.
type hmacScheme struct{}

func (hmacScheme) Name() string { return V1 }

func (hmacScheme) Sign(r Request, keys []Key) ([]Field, error) { return signStandard(V1, r, keys) }

// ed25519Scheme is v1a.
type ed25519Scheme struct{}

func (ed25519Scheme) Name() string { return V1a }

func (ed25519Scheme) Sign(r Request, keys []Key) ([]Field, error) { return signStandard(V1a, r, keys) }

// signStandard writes the three fields of Standard Webhooks. Everything between
// the content and the value of the signature field lives in one buffer: this
// runs once for every attempt of every delivery.
func signStandard(version string, r Request, keys []Key) ([]Field, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("scheme %s: %w", version, ErrNoActiveKey)
	}
	prefix, stamp := contentPrefix(r.ID, r.Time.Unix())
	entry := len(version) + 2 + base64.StdEncoding.EncodedLen(maxSignatureSize)
	buffer := make([]byte, 0, len(prefix)+maxSignatureSize+entry*len(keys))
	buffer = append(buffer, prefix...)
	head := len(prefix)
	value := buffer[head+maxSignatureSize : head+maxSignatureSize]
	for i := range keys {
		key := &keys[i]
		if err := key.usable(version); err != nil {
			return nil, err
		}
		raw, err := key.material.sign(buffer[head:head:head+maxSignatureSize], buffer[:head:head], r.Body)
		if err != nil {
			return nil, fmt.Errorf("scheme %s: sign with key %q: %w", version, key.ID, err)
		}
		if len(value) > 0 {
			value = append(value, ' ')
		}
		value = append(value, version...)
		value = append(value, ',')
		value = base64.StdEncoding.AppendEncode(value, raw)
	}
	return []Field{
		{Name: HeaderID, Value: r.ID},
		{Name: HeaderTimestamp, Value: stamp},
		{Name: HeaderSignature, Value: string(value), Separator: " "},
	}, nil
}
