package mtls

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
)

// link is one certificate under one issuer.
type link [2][sha256.Size]byte

func linkOf(c, issuer *x509.Certificate) link {
	return link{sha256.Sum256(c.Raw), sha256.Sum256(issuer.Raw)}
}

// answer is what is known of one link.
type answer struct {
	status RevocationStatus
	detail string // for RevocationGood "staple" or "crl"
}

func unknown(format string, args ...any) answer {
	return answer{RevocationUnknown, fmt.Sprintf(format, args...)}
}

// find asks for all links at once, and is done as soon as one chain is good.
func (r *Revocation) find(ctx context.Context, chains [][]*x509.Certificate, staple []byte) Finding {
	chains = slices.DeleteFunc(slices.Clone(chains), func(chain []*x509.Certificate) bool { return len(chain) == 0 })
	if len(chains) == 0 {
		return Finding{RevocationUnknown, "there is no verified chain"}
	}
	type told struct {
		of   link
		says answer
	}
	said := make(chan told, maxLinks)
	known := make(map[link]answer)
	asked := 0
	for _, chain := range chains {
		for i, c := range chain[:len(chain)-1] {
			of := linkOf(c, chain[i+1])
			if _, repeated := known[of]; repeated {
				continue
			}
			if asked == maxLinks {
				known[of] = unknown("%s is one of too many certificates", describe(c))
				continue
			}
			known[of] = unknown("%s was not asked for to the end", describe(c))
			asked++
			go func() {
				if i == 0 {
					said <- told{of, r.leaf(ctx, c, chain[1], staple)}
					return
				}
				said <- told{of, r.listed(ctx, c, chain[i+1])}
			}()
		}
	}
	best := judgeChains(chains, known)
	for ; asked > 0 && best.Status != RevocationGood; asked-- {
		t := <-said
		known[t.of] = t.says
		best = judgeChains(chains, known)
	}
	return best
}

// leaf asks for the receiver's own certificate, the only one for which a staple counts.
func (r *Revocation) leaf(ctx context.Context, c, issuer *x509.Certificate, staple []byte) answer {
	stapled := readStaple(staple, c, issuer)
	switch {
	case stapled.status == RevocationGood || stapled.status == Revoked:
		return stapled
	case mustStaple(c):
		return answer{StapleMissing, describe(c) + " demands a stapled OCSP response (must-staple, RFC 7633), and " + stapled.detail}
	}
	listed := r.listed(ctx, c, issuer)
	if listed.status == RevocationUnknown && len(staple) > 0 {
		listed.detail = stapled.detail + "; " + listed.detail
	}
	return listed
}

// listed looks a certificate up in the lists that it names, one after the other.
func (r *Revocation) listed(ctx context.Context, c, issuer *x509.Certificate) answer {
	var problems []string
	sources := c.CRLDistributionPoints
	if len(sources) > maxSources {
		sources = sources[:maxSources]
	}
	for i, source := range sources {
		list, err := r.listWithin(ctx, len(sources)-i, source, issuer)
		if list != nil {
			says := list.status(c, source)
			if says.status != RevocationUnknown {
				return says
			}
			problems = append(problems, says.detail)
		}
		if err != nil {
			problems = append(problems, err.Error())
		}
	}
	if len(problems) == 0 {
		return unknown("%s names no CRL", describe(c))
	}
	return unknown("for %s: %s", describe(c), strings.Join(problems, "; "))
}

// judgeChains takes the best chain, and of each chain the worst certificate.
func judgeChains(chains [][]*x509.Certificate, known map[link]answer) Finding {
	var best Finding
	for _, chain := range chains {
		// Its signature fits one key only, so the issuers of all chains are one, and what one of them withdrew is withdrawn.
		if len(chain) > 1 {
			if says := known[linkOf(chain[0], chain[1])]; says.status == Revoked {
				return Finding{Status: Revoked, Detail: says.detail}
			}
		}
	}
	for n, chain := range chains {
		if worst := judgeChain(chain, known); n == 0 || worst.Status < best.Status {
			best = worst
		}
	}
	return best
}

func judgeChain(chain []*x509.Certificate, known map[link]answer) Finding {
	worst := Finding{Status: RevocationGood}
	var by []string
	for i, c := range chain[:len(chain)-1] {
		says := known[linkOf(c, chain[i+1])]
		switch {
		case says.status == RevocationGood && worst.Status == RevocationGood:
			if !slices.Contains(by, says.detail) {
				by = append(by, says.detail)
			}
		case says.status > worst.Status:
			worst = Finding{Status: says.status, Detail: says.detail}
		}
	}
	if worst.Status == RevocationGood {
		worst.Detail = strings.Join(by, ", ")
		if len(by) == 0 {
			worst.Detail = "it is a trusted root itself"
		}
	}
	return worst
}

func describe(c *x509.Certificate) string {
	return fmt.Sprintf("certificate %q (serial %x)", c.Subject, c.SerialNumber)
}
