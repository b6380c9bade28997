package mtls

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"
)

// statusRequest is the TLS extension (RFC 6066 section 8) that a certificate can oblige its holder to answer.
const statusRequest = 5

// featureExtension is id-pe-tlsfeature (RFC 7633 section 6).
var featureExtension = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}

// mustStaple reports whether a certificate demands a stapled response. One whose demand cannot be read demands it, too.
func mustStaple(c *x509.Certificate) bool {
	for _, extension := range c.Extensions {
		if !extension.Id.Equal(featureExtension) {
			continue
		}
		var features []int
		rest, err := asn1.Unmarshal(extension.Value, &features)
		if err != nil || len(rest) > 0 || slices.Contains(features, statusRequest) {
			return true
		}
	}
	return false
}

// readStaple judges a stapled OCSP response (RFC 6960 section 3.2). It must be signed by the issuer, or by a responder
// to whom the issuer gave a certificate for that purpose.
func readStaple(staple []byte, c, issuer *x509.Certificate) answer {
	if len(staple) == 0 {
		return unknown("the receiver stapled no OCSP response")
	}
	const said = "the stapled OCSP response "
	if len(staple) > maxStaple {
		return unknown(said+"is larger than %d KiB", maxStaple>>10)
	}
	response, err := ocsp.ParseResponseForCert(staple, c, issuer)
	if err != nil {
		return unknown(said+"cannot be used: %s", strings.TrimPrefix(err.Error(), "ocsp: "))
	}
	now := time.Now()
	// The parser has checked the signature, and nothing else: any certificate of the issuer could have made it.
	if responder := response.Certificate; responder != nil && !bytes.Equal(responder.Raw, issuer.Raw) {
		if !slices.Contains(responder.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) {
			return unknown(said+"is signed by %s, which may not sign such responses", describe(responder))
		}
		if now.Before(responder.NotBefore) || now.After(responder.NotAfter) {
			return unknown(said+"is signed by %s, which is outside its validity", describe(responder))
		}
	}
	problem := staleness(response.ThisUpdate, response.NextUpdate, now)
	if response.Status == ocsp.Revoked {
		withdrawn := withdrawal{at: response.RevokedAt.Unix(), reason: response.RevocationReason}
		if problem == "" || withdrawn.final() {
			return answer{Revoked, describe(c) + " has been withdrawn, says the stapled OCSP response: " + withdrawn.String()}
		}
	}
	if problem != "" {
		return unknown(said+"%s", problem)
	}
	if response.Status != ocsp.Good {
		return unknown(said + "says that the issuer does not know the certificate")
	}
	return answer{RevocationGood, "staple"}
}

// staleness says why an answer does not count now; it is empty for one that does.
func staleness(from, to, now time.Time) string {
	switch {
	case to.IsZero():
		return "does not say until when it counts"
	case now.After(to):
		return "counted until " + to.UTC().Format(time.RFC3339)
	case now.Add(clockSkew).Before(from):
		return "counts only from " + from.UTC().Format(time.RFC3339)
	default:
		return ""
	}
}
