package signature

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// The header fields of the providers whose schemes sign the body alone.
const (
	headerDocuSign       = "x-docusign-signature-" // and a number, from 1 on
	headerDocuSignDigest = "x-authorization-digest"
	headerPagerDuty      = "x-pagerduty-signature"
	headerPagerDutyID    = "x-webhook-id"
	headerGitHub         = "x-hub-signature-256"
	headerShopify        = "x-shopify-hmac-sha256"
	headerShopifyID      = "x-shopify-webhook-id"
)

// encoding writes and reads the raw bytes of one signature.
type encoding struct {
	write func([]byte) string
	// read returns nil for what is not written in the one way.
	read func(string) []byte
}

func hexadecimal() encoding {
	return encoding{write: hex.EncodeToString, read: func(text string) []byte {
		raw, err := hex.DecodeString(text)
		if err != nil || strings.ToLower(text) != text {
			return nil
		}
		return raw
	}}
}

func base64Text() encoding {
	return encoding{write: base64.StdEncoding.EncodeToString, read: func(text string) []byte {
		raw, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil || strings.ContainsAny(text, "\r\n") {
			return nil
		}
		return raw
	}}
}

// signAll signs prefix and body with every key and returns the written
// signatures. It is the part that every provider's scheme shares.
func signAll(scheme string, keys []Key, prefix, body []byte, how encoding) ([]string, error) {
	if len(keys) == 0 {
		return nil, fmt.Errorf("scheme %s: %w", scheme, ErrNoActiveKey)
	}
	written := make([]string, 0, len(keys))
	var raw [maxSignatureSize]byte
	for i := range keys {
		key := &keys[i]
		if err := key.usable(scheme); err != nil {
			return nil, err
		}
		signed, err := key.material.sign(raw[:0], prefix, body)
		if err != nil {
			return nil, fmt.Errorf("scheme %s: sign with key %q: %w", scheme, key.ID, err)
		}
		written = append(written, how.write(signed))
	}
	return written, nil
}

// signOne is signAll for a format that has room for one signature only. More
// keys are an error, because the others would seem to have signed.
func signOne(scheme string, keys []Key, prefix, body []byte, how encoding) (string, error) {
	if len(keys) > 1 {
		return "", fmt.Errorf("scheme %s: %w: its format has room for one signature, and %d keys were given", scheme, ErrInvalidRequest, len(keys))
	}
	written, err := signAll(scheme, keys, prefix, body, how)
	if err != nil {
		return "", err
	}
	return written[0], nil
}

// docuSign has one header field for each key.
type docuSign struct{}

func (docuSign) Name() string { return DocuSign }

func (docuSign) Sign(r Request, keys []Key) ([]Field, error) {
	written, err := signAll(DocuSign, keys, nil, r.Body, base64Text())
	if err != nil {
		return nil, err
	}
	fields := []Field{{Name: headerDocuSignDigest, Value: "HMACSHA256"}}
	for i, value := range written {
		fields = append(fields, Field{Name: headerDocuSign + strconv.Itoa(i+1), Value: value})
	}
	return fields, nil
}

// verifyDocuSign ignores what x-authorization-digest claims: the key decides.
func verifyDocuSign(r Received, keys []Verifier, _ window) (Verified, error) {
	var made [][]byte
	for n := 1; n <= MaxSignatures; n++ {
		name := headerDocuSign + strconv.Itoa(n)
		value, err := atMostOne(r.Header, name)
		if err == nil && n == 1 {
			value, err = one(r.Header, name)
		}
		if err != nil {
			return Verified{}, err
		}
		if value == "" {
			break
		}
		if raw := base64Text().read(value); raw != nil {
			made = append(made, raw)
		}
	}
	return matchOne(keys, nil, r.Body, made)
}

// pagerDuty has a list in one field, with a version in front of each signature.
type pagerDuty struct{}

func (pagerDuty) Name() string { return PagerDuty }

func (pagerDuty) Sign(r Request, keys []Key) ([]Field, error) {
	written, err := signAll(PagerDuty, keys, nil, r.Body, hexadecimal())
	if err != nil {
		return nil, err
	}
	// Its verifier splits at the comma and trims nothing.
	fields := []Field{{Name: headerPagerDuty, Value: "v1=" + strings.Join(written, ",v1=")}}
	if r.ID != "" {
		fields = append(fields, Field{Name: headerPagerDutyID, Value: r.ID})
	}
	return fields, nil
}

func verifyPagerDuty(r Received, keys []Verifier, _ window) (Verified, error) {
	list, err := one(r.Header, headerPagerDuty)
	if err != nil {
		return Verified{}, err
	}
	if err := tooMany(headerPagerDuty, strings.Count(list, ",")+1); err != nil {
		return Verified{}, err
	}
	return matchOne(keys, nil, r.Body, listed(list, ",", "v1=", hexadecimal()))
}

// listed returns the signatures of a list that have the prefix in front; those of
// other versions are read over.
func listed(list, separator, prefix string, how encoding) [][]byte {
	var made [][]byte
	for value := range strings.SplitSeq(list, separator) {
		encoded, ok := strings.CutPrefix(value, prefix)
		if raw := how.read(encoded); ok && len(raw) > 0 {
			made = append(made, raw)
		}
	}
	return made
}

// gitHub has one signature.
type gitHub struct{}

func (gitHub) Name() string { return GitHub }

func (gitHub) Sign(r Request, keys []Key) ([]Field, error) {
	value, err := signOne(GitHub, keys, nil, r.Body, hexadecimal())
	if err != nil {
		return nil, err
	}
	return []Field{{Name: headerGitHub, Value: "sha256=" + value}}, nil
}

func verifyGitHub(r Received, keys []Verifier, _ window) (Verified, error) {
	value, err := one(r.Header, headerGitHub)
	if err != nil {
		return Verified{}, err
	}
	return matchOne(keys, nil, r.Body, listed(value, "\n", "sha256=", hexadecimal()))
}

// shopify has one signature.
type shopify struct{}

func (shopify) Name() string { return Shopify }

func (shopify) Sign(r Request, keys []Key) ([]Field, error) {
	value, err := signOne(Shopify, keys, nil, r.Body, base64Text())
	if err != nil {
		return nil, err
	}
	fields := []Field{{Name: headerShopify, Value: value}}
	if r.ID != "" {
		fields = append(fields, Field{Name: headerShopifyID, Value: r.ID})
	}
	return fields, nil
}

func verifyShopify(r Received, keys []Verifier, _ window) (Verified, error) {
	value, err := one(r.Header, headerShopify)
	if err != nil {
		return Verified{}, err
	}
	return matchOne(keys, nil, r.Body, listed(value, "\n", "", base64Text()))
}
