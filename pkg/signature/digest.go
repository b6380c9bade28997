package signature

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
)

// HeaderDigest is the digest of the body (RFC 9530).
const HeaderDigest = "content-digest"

// maxDigests is how many digests a field may list.
const maxDigests = 8

func contentDigest(body []byte) string {
	sum := sha256.Sum256(body)
	out := make([]byte, 0, len("sha-256=::")+base64.StdEncoding.EncodedLen(len(sum)))
	out = append(out, "sha-256=:"...)
	out = base64.StdEncoding.AppendEncode(out, sum[:])
	return string(append(out, ':'))
}

// checkDigest wants every digest of an algorithm that we know to be that of the
// body, and at least one of them. A signature covers the field only, so that
// without this the body could be anything.
func checkDigest(field string, body []byte) error {
	members, err := parseDictionary(field, maxDigests)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrMalformed, HeaderDigest, err)
	}
	known := 0
	for _, m := range members {
		var want []byte
		switch m.name {
		case "sha-256":
			sum := sha256.Sum256(body)
			want = sum[:]
		case "sha-512":
			sum := sha512.Sum512(body)
			want = sum[:]
		default:
			continue
		}
		if subtle.ConstantTimeCompare(m.bytes, want) != 1 {
			return fmt.Errorf("%w: the %s in %s is not that of the body, which was changed on the way (verify the bytes as received, before any parser)", ErrNoMatch, m.name, HeaderDigest)
		}
		known++
	}
	if known == 0 {
		return fmt.Errorf("%w: %s holds neither sha-256 nor sha-512", ErrMalformed, HeaderDigest)
	}
	return nil
}
