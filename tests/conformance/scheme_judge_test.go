package conformance

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/PagerDuty/go-pagerduty/webhookv3"
	"github.com/dunglas/httpsfv"
	"github.com/remitly-oss/httpsig-go"

	"github.com/handfast/handfast/pkg/signature"
)

var (
	errForged = errors.New("the judge says: not signed with this key")
	errNoKey  = errors.New("the judge knows no such key")
)

// judge verifies a request with the code of others, or with the standard library by the provider's published formula.
type judge func(key signature.Key, r *http.Request, body []byte) error

// judgeOf is the judge of a scheme.
func judgeOf(scheme string) judge {
	switch scheme {
	case signature.HTTPEd25519, signature.HTTPECDSA, signature.HTTPHMAC:
		return judgeMessage
	case signature.PagerDuty:
		return func(key signature.Key, r *http.Request, body []byte) error {
			again := r.Clone(context.Background())
			again.Body = http.NoBody
			if len(body) > 0 {
				again.Body = readCloser{bytes.NewReader(body)}
			}
			return webhookv3.VerifySignature(again, key.Reveal())
		}
	case signature.DocuSign:
		return func(key signature.Key, r *http.Request, body []byte) error {
			for n := 1; r.Header.Get(fmt.Sprintf("X-DocuSign-Signature-%d", n)) != ""; n++ {
				if same(r.Header.Get(fmt.Sprintf("X-DocuSign-Signature-%d", n)), base64.StdEncoding.EncodeToString(mac(key, "", body, ""))) == nil {
					return nil
				}
			}
			return errForged
		}
	case signature.GitHub:
		return func(key signature.Key, r *http.Request, body []byte) error {
			return same(r.Header.Get("X-Hub-Signature-256"), "sha256="+hex.EncodeToString(mac(key, "", body, "")))
		}
	case signature.Shopify:
		return func(key signature.Key, r *http.Request, body []byte) error {
			return same(r.Header.Get("X-Shopify-Hmac-SHA256"), base64.StdEncoding.EncodeToString(mac(key, "", body, "")))
		}
	case signature.Slack:
		return func(key signature.Key, r *http.Request, body []byte) error {
			return same(r.Header.Get("X-Slack-Signature"), "v0="+hex.EncodeToString(mac(key, "v0:"+r.Header.Get("X-Slack-Request-Timestamp")+":", body, "")))
		}
	case signature.Stripe:
		return func(key signature.Key, r *http.Request, body []byte) error {
			stamp, made, _ := strings.Cut(r.Header.Get("Stripe-Signature"), ",v1=")
			return same(made, hex.EncodeToString(mac(key, strings.TrimPrefix(stamp, "t=")+".", body, "")))
		}
	}
	return nil
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

func same(got, want string) error {
	if got == "" || !hmac.Equal([]byte(got), []byte(want)) {
		return errForged
	}
	return nil
}

// mac is HMAC-SHA256 with the bytes of the whole secret.
func mac(key signature.Key, before string, body []byte, after string) []byte {
	h := hmac.New(sha256.New, []byte(key.Reveal()))
	h.Write([]byte(before + string(body) + after))
	return h.Sum(nil)
}

// fetcher gives httpsig-go the key that a receiver has.
type fetcher struct{ key signature.Key }

func (f fetcher) FetchByKeyID(_ context.Context, _ http.Header, id string) (httpsig.KeySpecer, error) {
	if id != f.key.ID {
		return nil, errNoKey
	}
	spec := httpsig.KeySpec{KeyID: id, PubKey: f.key.PublicKey()}
	switch f.key.Scheme {
	case signature.HTTPEd25519:
		spec.Algo = httpsig.Algo_ED25519
	case signature.HTTPECDSA:
		spec.Algo = httpsig.Algo_ECDSA_P256_SHA256
	default:
		spec.Algo = httpsig.Algo_HMAC_SHA256
		raw, err := base64.StdEncoding.DecodeString(f.key.Reveal())
		if err != nil {
			return nil, errNoKey
		}
		spec.Secret = raw
	}
	return spec, nil
}

func (fetcher) Fetch(context.Context, http.Header, httpsig.MetadataProvider) (httpsig.KeySpecer, error) {
	return nil, errNoKey
}

// judgeMessage is httpsig-go without @target-uri, which it gets wrong. It looks at one label; ours are found by their key id.
func judgeMessage(key signature.Key, r *http.Request, body []byte) error {
	inputs, err := httpsfv.UnmarshalDictionary(r.Header.Values("Signature-Input"))
	if err != nil {
		return err
	}
	for _, label := range inputs.Names() {
		item, _ := inputs.Get(label)
		list, ok := item.(httpsfv.InnerList)
		if id, _ := list.Params.Get("keyid"); !ok || id != key.ID {
			continue
		}
		if tag, _ := list.Params.Get("tag"); tag != signature.MessageTag {
			return errForged
		}
		again := r.Clone(context.Background())
		again.Body = readCloser{bytes.NewReader(body)}
		result, err := httpsig.Verify(again, fetcher{key: key}, httpsig.VerifyProfile{
			SignatureLabel:     label,
			AllowedAlgorithms:  []httpsig.Algorithm{httpsig.Algo_ED25519, httpsig.Algo_ECDSA_P256_SHA256, httpsig.Algo_HMAC_SHA256},
			RequiredFields:     httpsig.Fields("@method", "@authority", "@path", "@query", "content-type", "content-digest", "webhook-id"),
			RequiredMetadata:   []httpsig.Metadata{httpsig.MetaCreated, httpsig.MetaExpires, httpsig.MetaKeyID, httpsig.MetaTag},
			DisallowedMetadata: []httpsig.Metadata{httpsig.MetaAlgorithm},
		})
		if err != nil {
			return err
		}
		if !result.Verified {
			return errForged
		}
		return nil
	}
	return errNoKey
}
