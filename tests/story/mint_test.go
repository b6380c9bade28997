package story

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/url"
	"os"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/handfast/handfast/pkg/mtls/authority"
)

// mint does what a partner's CA does; its root stands in partner.pem.
//
//	mint client NAME URI       a certificate in NAME.pem and its key in NAME.key
//	mint expired NAME URI      one that has ended
//	mint server NAME           one for a server
//	mint pkcs12 NAME PASSWORD  the pair of NAME.pem and NAME.key in NAME.p12
//	mint sign REQUEST OUT      the answer to a request, with the names that it asks for
func mint(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mint client|expired|server|pkcs12|sign NAME [ARG]")
	}
	ca := partner(ts)
	third := ""
	if len(args) > 2 {
		third = args[2]
	}
	write := func(name string, content []byte) { ts.Check(os.WriteFile(ts.MkAbs(name), content, 0o600)) }
	pair := func(certificatePEM, keyPEM []byte, err error) {
		ts.Check(err)
		write(args[1]+".pem", certificatePEM)
		write(args[1]+".key", keyPEM)
	}
	switch args[0] {
	case "client":
		pair(ca.Client(third))
	case "server":
		pair(ca.Server("localhost"))
	case "expired":
		name, err := url.Parse(third)
		ts.Check(err)
		pair(ca.Issue(authority.Leaf{URIs: []*url.URL{name}, Client: true, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour)}))
	case "pkcs12":
		pair, err := tls.LoadX509KeyPair(ts.MkAbs(args[1]+".pem"), ts.MkAbs(args[1]+".key"))
		ts.Check(err)
		file, err := pkcs12.Modern.WithRand(rand.Reader).Encode(pair.PrivateKey, pair.Leaf, []*x509.Certificate{ca.Certificate()}, third)
		ts.Check(err)
		write(args[1]+".p12", file)
	case "sign":
		text := []byte(ts.ReadFile(args[1]))
		request, err := authority.ParseRequest(text)
		ts.Check(err)
		answer, err := ca.Answer(text, authority.Leaf{CommonName: request.Subject.CommonName, URIs: request.URIs, DNSNames: request.DNSNames, Client: true})
		ts.Check(err)
		write(third, answer)
	default:
		ts.Fatalf("mint %s is not known", args[0])
	}
}

// partner is the CA of the story, made at its first use. It may be older than now, so that it can issue what has ended.
func partner(ts *testscript.TestScript) *authority.Authority {
	name := ts.MkAbs("partner.pem")
	text, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		ca, err := authority.New("Partner CA", authority.WithClock(func() time.Time { return time.Now().Add(-30 * 24 * time.Hour) }))
		ts.Check(err)
		text, err = ca.Marshal()
		ts.Check(err)
		ts.Check(os.WriteFile(name, text, 0o600))
	} else {
		ts.Check(err)
	}
	ca, err := authority.Load(text)
	ts.Check(err)
	return ca
}
