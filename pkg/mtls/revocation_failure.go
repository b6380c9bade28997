package mtls

import "fmt"

// revocationFailure tells the certificate that is revoked from the one of which nobody knows.
func revocationFailure(t Target, f *Failure, err *RevocationError) *Failure {
	switch err.Finding.Status {
	case Revoked:
		f.Kind = ServerCertificateRevoked
		f.Detail = fmt.Sprintf("the certificate of %s, or of one of its issuers, has been revoked: %s", t.Authority, err.Finding.Detail)
		f.Advice = "The receiver's operator replaces the certificate, and its key if that was stolen; nothing is dropped meanwhile"
	case StapleMissing:
		f.Kind = ServerCertificateUntrusted
		f.Detail = fmt.Sprintf("the certificate of %s is not accepted: %v", t.Authority, err)
		f.Advice = "The receiver's operator switches OCSP stapling on and sees that its answers are fresh, or gets a certificate without must-staple"
	case RevocationUnchecked, RevocationGood, RevocationUnknown:
		f.Kind = ServerCertificateUntrusted
		f.Detail = fmt.Sprintf("the certificate of %s is not accepted: %v", t.Authority, err)
		f.Advice = "Let the dispatcher reach the CRLs that the certificates name (over http, under its address policy), " +
			"or the receiver staple OCSP responses; or set the endpoint's tls.trust.revocation to soft"
	}
	return f
}
