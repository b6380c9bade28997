package signature

import (
	"encoding/base64"
	"fmt"
	"io"
)

// hmacScheme is v1.
type hmacScheme struct{}

func (hmacScheme) Name() string { return V1 }

func (hmacScheme) Sign(r Request, keys []Key) ([]Field, error) { return signStandard(V1, r, keys) }

func (hmacScheme) parse(secret string) (*material, error) { return parseHMAC(secret) }

func (hmacScheme) generate(random io.Reader) (*material, error) {
	key := make([]byte, hmacKeySize)
	if _, err := io.ReadFull(random, key); err != nil {
		return nil, err
	}
	return newHMAC(key), nil
}

// ed25519Scheme is v1a.
type ed25519Scheme struct{}

func (ed25519Scheme) Name() string { return V1a }

func (ed25519Scheme) Sign(r Request, keys []Key) ([]Field, error) { return signStandard(V1a, r, keys) }

func (ed25519Scheme) parse(secret string) (*material, error) { return parseEd25519(secret) }

func (ed25519Scheme) generate(random io.Reader) (*material, error) {
	seed := make([]byte, seedSize)
	if _, err := io.ReadFull(random, seed); err != nil {
		return nil, err
	}
	return newEd25519(seed), nil
}

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
		if key.Scheme != version || key.material == nil {
			return nil, fmt.Errorf("scheme %s: %w: key %q belongs to scheme %q or has no secret", version, ErrInvalidKey, key.ID, key.Scheme)
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
