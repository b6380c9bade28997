package stack_test

import (
	"encoding/pem"
	"errors"
	"flag"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/services/handfast/stack"
)

var update = flag.Bool("update", false, "write the golden files anew")

const san = "spiffe://example.com/handfast"

// example is the input of the golden files: what the stack has no use for is left out.
func example(t *testing.T, name string) stack.Input {
	t.Helper()
	ca, err := os.ReadFile("testdata/ca.pem")
	require.NoError(t, err)
	in := stack.Input{CA: ca, SAN: san, Host: "hooks.example.com"}
	switch name {
	case "nginx", "caddy", "haproxy", "envoy":
		in.Upstream = "127.0.0.1:8080"
	case "kubernetes-ingress":
		in.Upstream = "orders:8080"
	}
	return in
}

func render(t *testing.T, name string) stack.Output {
	t.Helper()
	out, err := stack.Render(name, example(t, name))
	require.NoError(t, err)
	return out
}

// each gives the configuration of every stack.
func each(t *testing.T) iter.Seq2[string, stack.Output] {
	t.Helper()
	return func(yield func(string, stack.Output) bool) {
		for _, name := range stack.Names() {
			if !yield(name, render(t, name)) {
				return
			}
		}
	}
}

// After a change of templates read the difference: people paste these files into production.
func TestGolden(t *testing.T) {
	for name, out := range each(t) {
		assert.Equal(t, out.Config, out.Order()[0])
		assert.Len(t, out.Order(), len(out.Files))
		for file, text := range out.Files {
			golden := filepath.Join("testdata", name, file+".golden")
			if *update {
				require.NoError(t, os.MkdirAll(filepath.Dir(golden), 0o755))
				require.NoError(t, os.WriteFile(golden, []byte(text), 0o644))
			}
			stored, err := os.ReadFile(golden)
			require.NoError(t, err)
			assert.Equal(t, string(stored), text, "%s; make it anew: go test ./services/handfast/stack -run Golden -update", golden)
		}
	}
}

// What every configuration has to say, whatever the stack.
func TestEveryConfigurationIsComplete(t *testing.T) {
	for _, out := range each(t) {
		text := out.Files[out.Config]
		for _, word := range []string{
			san, "hooks.example.com", "1048576", "webhook-signature", "Standard Webhooks", "handfast key show", "What is checked, and where", "X-Forwarded-Client-Cert",
		} {
			if word == "X-Forwarded-Client-Cert" && strings.Contains(text, "client[-_]?cert") || strings.Contains(text, `"clientcert"`) || strings.Contains(text, "forward_client_cert_details") {
				continue // programs strip by pattern, and Envoy by its own setting
			}
			assert.Contains(t, text, word)
		}
		lines := strings.Split(strings.TrimSpace(text), "\n")
		assert.Contains(t, lines[len(lines)-1], "handfast doctor https://hooks.example.com")
		for file, text := range out.Files {
			assert.NotContains(t, text, "PRIVATE KEY-----\nM", file)
			assert.NotContains(t, text, "<no value>", file)
			assert.NotContains(t, text, "{{", file)
			assert.True(t, strings.HasSuffix(text, "\n"), file)
			for i, line := range strings.Split(text, "\n") {
				assert.Equal(t, strings.TrimRight(line, " \t"), line, "%s line %d has spaces at its end", file, i+1)
			}
		}
	}
}

func TestYAMLIsYAML(t *testing.T) {
	for _, name := range []string{"envoy", "kubernetes-ingress", "aws-alb"} {
		out := render(t, name)
		decoder := yaml.NewDecoder(strings.NewReader(out.Files[out.Config]))
		for {
			var document any
			err := decoder.Decode(&document)
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err, name)
		}
	}
}

// at goes down into a document.
func at(t *testing.T, document any, path ...any) any {
	t.Helper()
	for _, step := range path {
		switch step := step.(type) {
		case string:
			object, ok := document.(map[string]any)
			require.True(t, ok, "%v in %v", step, path)
			require.Contains(t, object, step)
			document = object[step]
		case int:
			list, ok := document.([]any)
			require.True(t, ok, "%v in %v", step, path)
			require.Greater(t, len(list), step)
			document = list[step]
		}
	}
	return document
}

func TestEnvoyStructure(t *testing.T) {
	var document any
	require.NoError(t, yaml.Unmarshal([]byte(render(t, "envoy").Files["envoy.yaml"]), &document))
	chains, ok := at(t, document, "static_resources", "listeners", 0, "filter_chains").([]any)
	require.True(t, ok)
	require.Len(t, chains, 1, "a second chain would be a way around")
	tls := at(t, chains[0], "transport_socket", "typed_config")
	assert.Equal(t, true, at(t, tls, "require_client_certificate"))
	common := at(t, tls, "common_tls_context")
	assert.Equal(t, "TLSv1_2", at(t, common, "tls_params", "tls_minimum_protocol_version"))
	assert.Equal(t, []any{map[string]any{"san_type": "URI", "matcher": map[string]any{"exact": san}}}, at(t, common, "validation_context", "match_typed_subject_alt_names"))
	assert.Equal(t, "/etc/handfast/ca.pem", at(t, common, "validation_context", "trusted_ca", "filename"))
	manager := at(t, chains[0], "filters", 0, "typed_config")
	assert.Equal(t, "SANITIZE_SET", at(t, manager, "forward_client_cert_details"))
	assert.Contains(t, at(t, manager, "route_config", "request_headers_to_remove"), "client-cert")
	assert.Equal(t, 1<<20, at(t, manager, "http_filters", 0, "typed_config", "max_request_bytes"))
}

func TestLoadBalancerStructure(t *testing.T) {
	var document any
	require.NoError(t, yaml.Unmarshal([]byte(render(t, "aws-alb").Files["template.yaml"]), &document))
	listener := at(t, document, "Resources", "HandfastListener", "Properties")
	assert.Equal(t, map[string]any{"Mode": "verify", "TrustStoreArn": "HandfastTrustStore", "IgnoreClientCertificateExpiry": false, "AdvertiseTrustStoreCaNames": "on"},
		at(t, listener, "MutualAuthentication"))
	assert.Equal(t, "ELBSecurityPolicy-TLS13-1-2-2021-06", at(t, listener, "SslPolicy"))
	assert.Equal(t, "fixed-response", at(t, listener, "DefaultActions", 0, "Type"))
}

func TestIngressStructure(t *testing.T) {
	decoder := yaml.NewDecoder(strings.NewReader(render(t, "kubernetes-ingress").Files["ingress.yaml"]))
	var secret, ingress any
	require.NoError(t, decoder.Decode(&secret))
	require.NoError(t, decoder.Decode(&ingress))
	text, ok := at(t, secret, "stringData", "ca.crt").(string)
	require.True(t, ok)
	assert.Equal(t, string(example(t, "").CA), text, "the CA has to survive YAML")
	annotations := at(t, ingress, "metadata", "annotations")
	const prefix = "nginx.ingress.kubernetes.io/"
	assert.Equal(t, "on", at(t, annotations, prefix+"auth-tls-verify-client"))
	assert.Equal(t, "default/handfast-ca", at(t, annotations, prefix+"auth-tls-secret"))
	assert.Equal(t, "true", at(t, annotations, prefix+"auth-tls-pass-certificate-to-upstream"))
	assert.NotContains(t, annotations, prefix+"auth-tls-match-cn")
	assert.Equal(t, "orders", at(t, ingress, "spec", "rules", 0, "http", "paths", 0, "backend", "service", "name"))
}

func TestEverythingThatIsWrongIsTold(t *testing.T) {
	for _, test := range []struct {
		name string
		in   stack.Input
		want []string
	}{
		{"nginx", stack.Input{}, []string{"no configuration for nginx was written:", "--ca: is needed", "--san: is needed", "--host: is needed", "--upstream: is needed"}},
		{"kubernetes-ingress", stack.Input{}, []string{"such as orders:8080"}},
		{"go", stack.Input{CA: []byte("x"), SAN: "*.example.com", Host: "a b", Listen: "443", Upstream: "x:1", Subject: "CN=x", Namespace: "n", Certificate: "tls.crt", Key: "/a b", CAFile: "ca"}, []string{
			"--ca: has no certificate", `--san: "*.example.com" is neither`, `--host: "a b"`, `--listen: "443"`, "--upstream: has no meaning for go", "--subject: has no meaning", "--namespace: has no meaning",
			`--certificate: "tls.crt" is not an absolute path`, `--key: "/a b"`, `--ca-path: "ca"`,
		}},
		{"aws-alb", stack.Input{Listen: ":1", Certificate: "/x", Key: "/y", CAFile: "/z"}, []string{"--listen: has", "--certificate: has", "--key: has", "--ca-path: has"}},
		{"haproxy", stack.Input{Certificate: "/x.pem", Key: "/y.key", Upstream: "x:99999"}, []string{"--key: haproxy reads the key", "/x.pem.key", `--upstream: "x:99999"`}},
		{"nginx", stack.Input{SAN: "spiffe://example.com/" + strings.Repeat("x", 64)}, []string{"--subject: is needed"}},
		{"nginx", stack.Input{SAN: san, Subject: `CN="; return 200; #`}, []string{"--subject:"}},
		{"caddy", stack.Input{SAN: "spiffe://x/{http.request.uri}"}, []string{"--san:"}},
		{"envoy", stack.Input{SAN: "spiffe://x/\"\n"}, []string{"--san:"}},
		{"envoy", stack.Input{SAN: "/CN=handfast"}, []string{"--san:"}},
	} {
		_, err := stack.Render(test.name, test.in)
		var problem *stack.Error
		require.ErrorAs(t, err, &problem, test.name)
		assert.Equal(t, test.name, problem.Stack)
		for _, want := range test.want {
			assert.Contains(t, err.Error(), want)
		}
	}
	_, err := stack.Render("apache", stack.Input{})
	require.ErrorIs(t, err, stack.ErrUnknown)
	assert.Contains(t, err.Error(), `"apache"; there are nginx, caddy, haproxy, envoy, node, go, java, aws-alb, kubernetes-ingress`)
}

// A development authority keeps its key beside its certificate; only one of them may come out.
func TestAKeyNeverComesOut(t *testing.T) {
	ca, err := authority.New("development")
	require.NoError(t, err)
	text, err := ca.Marshal()
	require.NoError(t, err)
	for _, name := range stack.Names() {
		in := example(t, name)
		in.CA = text
		out, err := stack.Render(name, in)
		require.NoError(t, err)
		assert.Equal(t, string(ca.CertificatePEM()), out.Files[stack.CAName])
		for file, text := range out.Files {
			key := strings.Split(string(in.CA), "-----BEGIN PRIVATE KEY-----\n")[1][:60]
			assert.NotContains(t, text, key, file)
		}
	}
}

func TestAuthorities(t *testing.T) {
	ca, err := authority.New("one")
	require.NoError(t, err)
	leaf, _, err := ca.Client(san)
	require.NoError(t, err)
	year := 365 * 24 * time.Hour
	old, err := authority.New("old", authority.WithClock(func() time.Time { return time.Now().Add(-11 * year) }))
	require.NoError(t, err)
	ending, err := authority.New("ending", authority.WithClock(func() time.Time { return time.Now().Add(-10*year + 48*time.Hour) }))
	require.NoError(t, err)
	for want, text := range map[string][]byte{
		`--ca: "CN=` + san + `" is no CA certificate`: leaf,
		`--ca: "CN=old" ended on `:                    old.CertificatePEM(),
		`--ca: certificate 2 cannot be read`:          append(ca.CertificatePEM(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})...),
	} {
		in := example(t, "go")
		in.CA = text
		_, err := stack.Render("go", in)
		require.ErrorContains(t, err, want)
	}
	in := example(t, "go")
	in.CA = append(ca.CertificatePEM(), ending.CertificatePEM()...)
	out, err := stack.Render("go", in)
	require.NoError(t, err)
	assert.Equal(t, string(in.CA), out.Files[stack.CAName], "both, while a root is replaced")
	require.Len(t, out.Warnings, 1)
	assert.Contains(t, out.Warnings[0], "the CA CN=ending ends on ")
}

// Where nothing compares a SAN, a root that everybody can get a certificate of is refused.
func TestPublicRoots(t *testing.T) {
	if name := os.Getenv("TEST_PUBLIC_ROOT"); name != "" {
		in := example(t, "nginx")
		_, err := stack.Render("nginx", in)
		require.ErrorContains(t, err, "trusts for everybody, and nginx cannot compare a SAN")
		out, err := stack.Render("caddy", in)
		require.NoError(t, err)
		require.Len(t, out.Warnings, 1)
		assert.Contains(t, out.Warnings[0], "trusts for everybody")
		return
	}
	rerun(t, "TEST_PUBLIC_ROOT=1", "SSL_CERT_FILE=testdata/ca.pem", "SSL_CERT_DIR=testdata/none")
}

func TestDNSNames(t *testing.T) {
	for _, name := range stack.Names() {
		in := example(t, name)
		in.SAN = "Webhooks.Example.com"
		out, err := stack.Render(name, in)
		require.NoError(t, err)
		assert.Contains(t, out.Files[out.Config], "Webhooks.Example.com", name)
		assert.NotContains(t, out.Files[out.Config], "URI:Web", name)
	}
}

// The answer to a wrong name is one that makes Handfast hold: a 403 would send deliveries to the dead letters.
func TestRefusalsHold(t *testing.T) {
	for name, out := range each(t) {
		if name == "envoy" || name == "aws-alb" || name == "kubernetes-ingress" {
			continue // refused in the handshake, or by the application
		}
		assert.Contains(t, out.Files[out.Config], "495")
	}
}
