package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/doctor"
	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/identity"
	"github.com/handfast/handfast/pkg/mtls"
	"github.com/handfast/handfast/pkg/mtls/authority"
)

// patient is a receiver, with the files that a person would have.
type patient struct {
	t   *testing.T
	url string
	dir string
	ca  *authority.Authority
}

func newPatient(t *testing.T, change func(*tls.Config)) *patient {
	t.Helper()
	p := &patient{t: t, dir: t.TempDir()}
	var err error
	p.ca, err = authority.New("Clinic Root")
	require.NoError(t, err)
	certificatePEM, keyPEM, err := p.ca.Server("127.0.0.1")
	require.NoError(t, err)
	pair, err := tls.X509KeyPair(certificatePEM, keyPEM)
	require.NoError(t, err)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNoContent) }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
	s.TLS.ClientCAs.AddCert(p.ca.Certificate())
	if change != nil {
		change(s.TLS)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	p.url = s.URL + "/in/s3cret"
	p.write("ca.pem", p.ca.CertificatePEM())
	certificatePEM, keyPEM, err = p.ca.Client("spiffe://handfast.example/dispatcher")
	require.NoError(t, err)
	p.write("client.pem", certificatePEM)
	p.write("client.key", keyPEM)
	return p
}

func (p *patient) write(name string, content []byte) {
	p.t.Helper()
	require.NoError(p.t, os.WriteFile(filepath.Join(p.dir, name), content, 0o600))
}

// doctor runs the command; DIR/ in arguments stands for the patient's directory.
func (p *patient) doctor(arguments ...string) (status int, out, told string) {
	p.t.Helper()
	for i := range arguments {
		arguments[i] = strings.ReplaceAll(arguments[i], "DIR/", p.dir+"/")
	}
	var stdout, stderr bytes.Buffer
	status = run(p.t.Context(), append([]string{"doctor"}, arguments...), streams{out: &stdout, err: &stderr})
	for _, text := range []string{stdout.String(), stderr.String()} {
		assert.NotContains(p.t, text, "s3cret", "the path is secret")
	}
	return status, stdout.String(), stderr.String()
}

const files = "--identity=default=DIR/client.pem,DIR/client.key"

func TestDoctorOfAHealthyReceiver(t *testing.T) {
	t.Setenv("COLUMNS", "80")
	t.Setenv("HANDFAST_SERVER", "nats://127.0.0.1:1") // nobody needs it
	p := newPatient(t, nil)
	status, out, told := p.doctor(p.url, files, "--roots=DIR/ca.pem", "--next=new=DIR/client.pem,DIR/client.key")
	assert.Equal(t, 0, status, "%s%s", out, told)
	assert.Empty(t, told)
	for _, want := range []string{" 1 ✓ connection: TCP to 127.0.0.1:", "✓ with current: The receiver accepted \"default\"", "✓ with next: The receiver accepted \"new\"", "\nHealthy.\n"} {
		assert.Contains(t, out, want)
	}
	for line := range strings.Lines(out) {
		if strings.Count(line, " ") > 8 { // a long word is left whole
			assert.LessOrEqual(t, len([]rune(strings.TrimRight(line, "\n"))), 80, line)
		}
	}
}

func TestDoctorOfASickReceiver(t *testing.T) {
	other, err := authority.New("Another Root")
	require.NoError(t, err)
	p := newPatient(t, func(c *tls.Config) {
		c.ClientCAs = x509.NewCertPool()
		c.ClientCAs.AddCert(other.Certificate())
	})
	status, out, told := p.doctor(p.url, files, "--roots=DIR/ca.pem")
	assert.Equal(t, 1, status)
	assert.Contains(t, out, "✗ certificate request: ")
	assert.Contains(t, out, "\nDo:\n")
	assert.Contains(t, out, "\nNot healthy: a delivery would end as client_certificate_refused.\n")
	assert.Contains(t, told, "is not healthy: client_certificate_refused")

	status, out, _ = p.doctor(p.url, files, "--roots=DIR/ca.pem", "--json")
	assert.Equal(t, 1, status)
	assert.Equal(t, 1, strings.Count(out, "\n"))
	var report struct {
		Healthy *bool            `json:"healthy"`
		Outcome string           `json:"outcome"`
		Steps   []map[string]any `json:"steps"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &report))
	require.NotNil(t, report.Healthy)
	assert.False(t, *report.Healthy)
	assert.Equal(t, "client_certificate_refused", report.Outcome)
	for _, step := range report.Steps {
		assert.Len(t, step, 4)
		for _, key := range []string{"step", "ok", "said", "do"} {
			assert.Contains(t, step, key)
		}
	}
}

func TestDoctorOfAReceiverThatAcceptsAnyone(t *testing.T) {
	p := newPatient(t, func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert })
	status, out, told := p.doctor(p.url, files, "--roots=DIR/ca.pem")
	assert.Equal(t, 1, status)
	assert.Contains(t, out, "Not healthy, although a delivery would get through.")
	assert.Contains(t, told, "is not healthy, although deliveries get through")
}

func TestDoctorThatCannotTry(t *testing.T) {
	t.Setenv("HANDFAST_SERVER", "nats://127.0.0.1:1")
	p := newPatient(t, nil)
	p.write("empty.pem", nil)
	p.write("broken.pem", []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	for _, test := range []struct {
		arguments []string
		want      []string
	}{
		{nil, []string{"name a receiver: its URL, or --endpoint TENANT/NAME"}},
		{[]string{p.url, "--endpoint=acme/orders"}, []string{"--endpoint: give a URL or an endpoint, not both"}},
		{[]string{"http://h/in"}, []string{`the URL has scheme "http"`}},
		{[]string{"https://h:x/s3cret"}, []string{"the URL cannot be read", `invalid port ":x"`}},
		{[]string{p.url, "--identity=default=x"}, []string{"NAME=CERT,KEY", "the name of a stored one"}},
		{[]string{p.url, "--identity=default"}, []string{"--identity-key-file: is needed"}},
		{[]string{p.url, "--identity=default=DIR/none.pem,DIR/none.key", "--next=n=DIR/gone.pem,DIR/client.key", "--roots=DIR/none", "--timeout=0s"}, []string{
			"--identity: read: open", "none.pem", "none.key", "--next: read: open", "gone.pem", "--roots: read: open", "--timeout: 0s leaves no time", "5 mistakes",
		}},
		{[]string{p.url, "--roots=DIR/empty.pem"}, []string{"holds no certificate in PEM"}},
		{[]string{p.url, "--roots=DIR/broken.pem"}, []string{"certificate 1 of", "cannot be read"}},
		{[]string{"--endpoint=acme/orders"}, []string{"no NATS server at nats://127.0.0.1:1"}},
		{[]string{"--endpoint=acme/orders", "--timeout=banana"}, []string{`"banana" is not a duration`}},
	} {
		status, out, told := p.doctor(test.arguments...)
		assert.Equal(t, 2, status, "%v", test.arguments)
		assert.Empty(t, out)
		for _, want := range test.want {
			assert.Contains(t, told, want, "%v", test.arguments)
		}
	}
}

// stand is a store of one identity, or none.
type stand struct{ identity *mtls.Identity }

func (s stand) Identity(_ context.Context, name string) (*mtls.Identity, error) {
	if s.identity == nil || s.identity.Name() != name {
		return nil, errors.New("no identity " + name)
	}
	return s.identity, nil
}

func TestDoctorTakesTheDocument(t *testing.T) {
	p := newPatient(t, nil)
	identity, err := mtls.NewIdentity("partners", read1(t, p, "client.pem"), read1(t, p, "client.key"), p.ca.Certificate().NotBefore.AddDate(0, 0, 1))
	require.NoError(t, err)
	e, err := endpoint.Parse([]byte(`{"tenant":"acme","name":"orders","url":"https://hooks.example.com/in","tls":{"identity":"partners","server_name":"real.example.com","mutual":"requested","min_version":"1.3","trust":{"revocation":"soft"}}}`))
	require.NoError(t, err)
	c := &doctorCommand{document: e}
	var told bytes.Buffer
	s := streams{out: io.Discard, err: &told}
	target, err := c.target(t.Context(), s, stand{identity})
	require.NoError(t, err)
	assert.Equal(t, "https://hooks.example.com/in", target.URL.String())
	assert.Equal(t, "real.example.com", target.ServerName)
	assert.Equal(t, mtls.Requested, target.Mutual)
	assert.Equal(t, mtls.TLS13, target.MinVersion)
	assert.Equal(t, mtls.RevocationSoft, target.Trust.Revocation())
	assert.Equal(t, "partners", target.Current.Name())
	assert.Empty(t, told.String())

	c.flags.ServerName = "other.example.com" // flags win
	c.Identity, c.flags.Current = identityFiles{name: "new"}, doctor.Of(identity)
	target, err = c.target(t.Context(), s, stand{})
	require.NoError(t, err)
	assert.Equal(t, "other.example.com", target.ServerName)
	assert.Contains(t, told.String(), `presents identity "partners", not "new"`)

	told.Reset()
	c.Identity, c.flags.Current = identityFiles{}, doctor.Identity{}
	target, err = c.target(t.Context(), s, noIdentities{})
	require.NoError(t, err)
	assert.Empty(t, target.Current.Name())
	assert.Contains(t, told.String(), "--identity partners=CERT,KEY")
}

func read1(t *testing.T, p *patient, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, name))
	require.NoError(t, err)
	return text
}

func FuzzIdentityFiles(f *testing.F) {
	for _, seed := range []string{"default=client.pem,client.key", "a=b=c,d,e", "=,", "x", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var i identityFiles
		if err := i.UnmarshalText(text); err != nil {
			assert.Zero(t, i)
			return
		}
		if i.isStored() {
			assert.Equal(t, identityFiles{name: string(text)}, i)
			assert.NoError(t, identity.CheckName(i.name))
			return
		}
		assert.Equal(t, string(text), i.name+"="+i.certificate+","+i.key)
		assert.NotEmpty(t, i.name)
	})
}
