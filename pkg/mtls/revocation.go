package mtls

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/singleflight"
)

// RevocationPolicy says what happens when a certificate in the receiver's chain may have been withdrawn by its issuer.
// It is a closed list; a value outside it is as strict as [RevocationHard].
type RevocationPolicy uint8

// The policies.
const (
	// RevocationIgnore asks nobody.
	RevocationIgnore RevocationPolicy = iota
	// RevocationSoft refuses what is known to be revoked, and a receiver that owes a stapled answer; it accepts what
	// nothing can be learnt of.
	RevocationSoft
	// RevocationHard refuses everything but a fresh answer that says good.
	RevocationHard
)

// String is the policy's word in an endpoint's document: "off", "soft" or "hard".
func (p RevocationPolicy) String() string {
	switch p {
	case RevocationIgnore:
		return "off"
	case RevocationSoft:
		return "soft"
	case RevocationHard:
		return "hard"
	default:
		return fmt.Sprintf("RevocationPolicy(%d)", uint8(p))
	}
}

func (p RevocationPolicy) refuses(s RevocationStatus) bool {
	switch s {
	case RevocationGood:
		return false
	case RevocationUnknown:
		return p != RevocationSoft
	case RevocationUnchecked, StapleMissing, Revoked:
		return true
	default:
		return true
	}
}

// RevocationStatus is what a check came to. It is a closed list.
type RevocationStatus uint8

// The statuses, from the best to the worst.
const (
	// RevocationUnchecked: the policy asks nobody.
	RevocationUnchecked RevocationStatus = iota
	// RevocationGood: a fresh answer of the issuer says good, for every certificate of a chain but the root.
	RevocationGood
	// RevocationUnknown: for at least one certificate there is no fresh answer.
	RevocationUnknown
	// StapleMissing: the certificate demands a stapled OCSP response (RFC 7633), and the receiver sent none that counts.
	StapleMissing
	// Revoked: the issuer has withdrawn a certificate.
	Revoked
)

// Finding is what a revocation check found.
type Finding struct {
	Status RevocationStatus
	// Detail says how it is known (for [RevocationGood]), or what is wrong and where, in words.
	Detail string
}

// String is the finding as it stands in a proof: "", "good (staple, crl)", "unknown: …", "no staple: …" or
// "revoked: …".
func (f Finding) String() string {
	switch f.Status {
	case RevocationUnchecked:
		return ""
	case RevocationGood:
		return "good (" + f.Detail + ")"
	case RevocationUnknown:
		return "unknown: " + f.Detail
	case StapleMissing:
		return "no staple: " + f.Detail
	case Revoked:
		return "revoked: " + f.Detail
	default:
		return fmt.Sprintf("RevocationStatus(%d): %s", uint8(f.Status), f.Detail)
	}
}

// RevocationError refuses a receiver because of what is known, or is not known, of the revocation of a certificate in
// its chain. Finding.Status says which of the two.
type RevocationError struct {
	Finding Finding
	Policy  RevocationPolicy
}

// Error says what was found and which policy does not take it.
func (e *RevocationError) Error() string {
	switch e.Finding.Status {
	case Revoked:
		return "revoked: " + e.Finding.Detail
	case StapleMissing:
		return "revocation status unknown: " + e.Finding.Detail
	case RevocationUnchecked, RevocationGood, RevocationUnknown:
	}
	return fmt.Sprintf("revocation status unknown: %s, policy %s", e.Finding.Detail, e.Policy)
}

// Bounds of a check. They are not options: a receiver's issuer must not be able to ask for more.
const (
	checkTime  = 5 * time.Second // of a whole check, and of fetching one CRL
	maxCRL     = 10 << 20        // bytes of one CRL
	maxStaple  = 16 << 10        // bytes; a responder's key comes with it, and a huge one would cost seconds
	maxLists   = 512             // CRLs that are remembered, failures included
	maxHeld    = 64 << 20        // bytes of the remembered CRLs, as they came
	crlAge     = time.Hour       // a list is fetched again after this, however long it says that it is good for
	crlRetry   = time.Minute     // a list that could not be fetched is left alone for this long
	clockSkew  = 5 * time.Minute // an answer from the future by no more than this is taken
	maxLinks   = 16              // certificates of all chains together
	maxSources = 4               // addresses of CRLs in one certificate
	maxCRLURL  = 1024            // bytes of such an address
)

// Revocation finds out whether certificates have been withdrawn by their issuers: from the OCSP response that a receiver
// staples to its handshake (RFC 6960, RFC 6066 section 8), else from the CRLs that a certificate names (RFC 5280
// section 4.2.1.13). It fetches CRLs over plain http, as they are signed, and remembers them. OCSP responders are not
// asked: that would tell them to whom we speak, and when. One Revocation serves any number of goroutines.
type Revocation struct {
	client  http.Client
	lists   crlCache
	flights singleflight.Group
	lanes   *lanes
}

// NewRevocation makes a checker that fetches CRLs through dial. When dial is nil, it is a net.Dialer under the zero
// [AddressPolicy], which reaches public addresses only. A dial of your own has to keep such a policy itself: the
// addresses stand in certificates.
func NewRevocation(dial func(ctx context.Context, network, address string) (net.Conn, error)) *Revocation {
	if dial == nil {
		dial = (&net.Dialer{ControlContext: AddressPolicy{}.Control}).DialContext
	}
	bounded := func(ctx context.Context, network, address string) (net.Conn, error) {
		// The transport lets a dial go on when its request has ended.
		ctx, cancel := context.WithTimeout(ctx, checkTime)
		defer cancel()
		return dial(ctx, network, address)
	}
	return &Revocation{
		lanes: newLanes(),
		client: http.Client{
			Transport: &http.Transport{
				DialContext: bounded, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 16 << 10,
			},
			// A redirect could lead to where the issuer's signature on the address does not reach.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Check asks for every certificate of the chains but the roots; what [Trust.Chains] returned are such chains, leaf
// first. staple is the OCSP response of the handshake (tls.ConnectionState.OCSPResponse), or empty. One chain of which
// everything is good is enough, as one is enough to be trusted.
//
// It takes at most 5 s, and no longer than ctx; what has not been answered by then is unknown. The error is a
// *[RevocationError] when the policy refuses the finding, and nil otherwise.
func (r *Revocation) Check(ctx context.Context, chains [][]*x509.Certificate, staple []byte, policy RevocationPolicy) (Finding, error) {
	if policy == RevocationIgnore {
		return Finding{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	finding := r.find(ctx, chains, staple)
	if policy.refuses(finding.Status) {
		return finding, &RevocationError{Finding: finding, Policy: policy}
	}
	return finding, nil
}
