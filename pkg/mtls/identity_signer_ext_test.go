package mtls_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
)

// elsewhere is a private key that nobody can read: it signs and no more.
type elsewhere struct{ crypto.Signer }

func (elsewhere) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("not now")
}

func TestSignerIdentityLeavesTheKeyWhereItIs(t *testing.T) {
	root := newTestAuthority(t, "root")
	intermediate, err := root.Intermediate("intermediate")
	require.NoError(t, err)
	p := clientPair(t, intermediate, "client")
	ordinary := p.identity(t, "acme")
	signer := elsewhere{ordinary.Certificate().PrivateKey.(crypto.Signer)}

	i, err := mtls.NewSignerIdentity("acme", p.certificate, signer, time.Now())
	require.NoError(t, err)
	assert.Equal(t, signer, i.Certificate().PrivateKey)
	assert.Equal(t, ordinary.Certificate().Certificate, i.Certificate().Certificate)
	assert.Equal(t, ordinary.Generation(), i.Generation())
	assert.Equal(t, ordinary.String(), i.String())
}

// The words are those of NewIdentity, because one function finds them.
func TestSignerIdentityTellsTheSameProblems(t *testing.T) {
	root := newTestAuthority(t, "root")
	p := clientPair(t, root, "client")
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	server := issuePair(t, root, authority.Leaf{Server: true, DNSNames: []string{"a.example"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
	for name, text := range map[string][]byte{"good": p.certificate, "bad": server.certificate, "none": nil, "stray": append(p.certificate, server.certificate...)} {
		t.Run(name, func(t *testing.T) {
			_, fromFile := mtls.NewIdentity("acme", text, keyToPEM(t, other), time.Now())
			_, fromSigner := mtls.NewSignerIdentity("acme", text, elsewhere{other}, time.Now())
			requireIdentityError(t, fromSigner)
			require.EqualError(t, fromSigner, fromFile.Error())
		})
	}
	_, err = mtls.NewSignerIdentity("acme", server.certificate, nil, time.Now())
	problems := requireIdentityError(t, err).Problems
	require.Len(t, problems, 3)
	assert.Equal(t, "there is no signer to use the private key", problems[0])
	assert.True(t, strings.Contains(problems[1], "expired") && strings.Contains(problems[2], "clientAuth"), problems)
}
