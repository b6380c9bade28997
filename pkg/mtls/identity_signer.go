package mtls

import (
	"crypto"
	"time"
)

// NewSignerIdentity is [NewIdentity] for a private key that stays where it is,
// such as in a PKCS#11 token: every handshake asks the signer for one signature.
// The signer is called from many goroutines at a time, and has to sign what TLS
// needs for its kind of key (RFC 8446 section 4.2.3): ECDSA, or RSA by both
// PKCS #1 v1.5 and PSS. certificatePEM and now mean what they mean there.
//
// The error is an [*IdentityError] with every problem at once.
func NewSignerIdentity(name string, certificatePEM []byte, signer crypto.Signer, now time.Time) (*Identity, error) {
	var problems []string
	if signer == nil {
		problems = append(problems, "there is no signer to use the private key")
	}
	return newIdentity(name, certificatePEM, signer, problems, now)
}
