//go:build cgo

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/pkg/stream/embedded"
)

const tokenPIN = "7391-right"

// softToken initialises a token with one key pair of each kind that signs, and gives the URIs of the keys.
func softToken(t *testing.T, dir string) (module string, uri func(object string) string) {
	t.Helper()
	for _, place := range []string{
		os.Getenv("SOFTHSM2_MODULE"), "/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so",
		"/usr/lib64/pkcs11/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so", "/opt/homebrew/lib/softhsm/libsofthsm2.so",
	} {
		if _, err := os.Stat(place); place != "" && err == nil {
			module = place
			break
		}
	}
	if module == "" {
		if strings.Contains(os.Getenv("HANDFAST_E2E"), "token") {
			t.Fatal("HANDFAST_E2E asks for tokens, but SoftHSM is not installed (Debian: softhsm2)")
		}
		t.Skip("SoftHSM is not installed (Debian: softhsm2); SOFTHSM2_MODULE may name it")
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "tokens"), 0o700))
	conf, pin := filepath.Join(dir, "softhsm2.conf"), filepath.Join(dir, "pin")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", filepath.Join(dir, "tokens")), 0o600))
	require.NoError(t, os.WriteFile(pin, []byte(tokenPIN+"\n"), 0o600))
	t.Setenv("SOFTHSM2_CONF", conf)
	p := pkcs11.New(module)
	require.NotNil(t, p)
	require.NoError(t, p.Initialize())
	defer func() {
		require.NoError(t, p.Finalize())
		p.Destroy()
	}()
	slots, err := p.GetSlotList(true)
	require.NoError(t, err)
	require.NoError(t, p.InitToken(slots[0], "so-pin", "acme"))
	slots, err = p.GetSlotList(true)
	require.NoError(t, err)
	session, err := p.OpenSession(slots[0], pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	require.NoError(t, err)
	require.NoError(t, p.Login(session, pkcs11.CKU_SO, "so-pin"))
	require.NoError(t, p.InitPIN(session, tokenPIN))
	require.NoError(t, p.Logout(session))
	require.NoError(t, p.Login(session, pkcs11.CKU_USER, tokenPIN))
	for i, kind := range []struct {
		object    string
		mechanism uint
		curve     []byte
	}{
		{"edwards", 0x1055, append([]byte{0x13, 12}, "edwards25519"...)},
		{"edwards2", 0x1055, append([]byte{0x13, 12}, "edwards25519"...)},
		{"p256", pkcs11.CKM_EC_KEY_PAIR_GEN, []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}},
	} {
		named := func(more ...*pkcs11.Attribute) []*pkcs11.Attribute {
			return append(more, pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte{byte(i + 1)}), pkcs11.NewAttribute(pkcs11.CKA_LABEL, kind.object))
		}
		_, _, err = p.GenerateKeyPair(session, []*pkcs11.Mechanism{pkcs11.NewMechanism(kind.mechanism, nil)},
			named(pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, kind.curve), pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true)),
			named(pkcs11.NewAttribute(pkcs11.CKA_SIGN, true), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false), pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true)))
		require.NoError(t, err)
	}
	return module, func(object string) string {
		return "pkcs11:token=acme;object=" + object + "?module-path=" + module + "&pin-source=file:" + pin
	}
}

// TestSigningKeysStayInAToken imports keys from a token, and looks at what a signer signs with them.
func TestSigningKeysStayInAToken(t *testing.T) {
	dir := t.TempDir()
	module, uri := softToken(t, dir)
	address, page := free(t), free(t)
	server, err := embedded.Start(embedded.Options{Dir: filepath.Join(dir, "nats"), Listen: address})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	master := filepath.Join(dir, "master.key")
	require.NoError(t, os.WriteFile(master, []byte(strings.Repeat("5a", 32)), 0o600))
	try := func(arguments ...string) (int, string, string) {
		if arguments[0] == "key" {
			arguments = append(arguments, "--master-key-file", master)
		}
		return invoke(t, append(arguments, "--server", "nats://"+address)...)
	}
	do := func(arguments ...string) string {
		t.Helper()
		status, out, stderr := try(arguments...)
		require.Zero(t, status, stderr)
		return out
	}
	change := func(arguments ...string) (made keyChange) {
		t.Helper()
		require.NoError(t, json.Unmarshal([]byte(do(append(arguments, "--json")...)), &made))
		return made
	}
	do("topology", "apply", "--partitions", "2")

	first := change("key", "import", "acme/orders", "--scheme", "v1a", "--token", uri("edwards"))
	assert.Equal(t, "imported active", first.Change+" "+first.Key.State)
	assert.True(t, strings.HasPrefix(first.Key.Custody, "token:pkcs11:token=acme;object=edwards?"), first.Key.Custody)
	second := change("key", "import", "acme/orders", "--scheme", signature.HTTPECDSA, "--token", uri("p256"))
	assert.Equal(t, "active", second.Key.State)
	for _, c := range []struct{ scheme, token, words string }{
		{"v1a", uri("p256"), "ECDSA"},
		{signature.HTTPEd25519, uri("edwards"), "at the same place"},
		{"v1", uri("edwards"), "Ed25519"},
		{"v1a", uri("nobody"), `holds no key "nobody"`},
		{"v1a", uri("edwards") + "&pin-value=1234", "pin-value is refused"},
		{"v1a", "edwards", "--token: "},
	} {
		status, _, stderr := try("key", "import", "acme/orders", "--scheme", c.scheme, "--token", c.token)
		assert.NotZero(t, status)
		assert.Contains(t, stderr, c.words)
		assert.NotContains(t, stderr, "1234")
		assert.NotContains(t, stderr, tokenPIN)
	}
	again := change("key", "import", "acme/orders", "--scheme", "v1a", "--token", uri("edwards"))
	assert.Equal(t, "unchanged "+first.Key.ID, again.Change+" "+again.Key.ID)
	moved := change("key", "import", "acme/orders", "--scheme", "v1a", "--token", uri("edwards")+"&sessions=4")
	assert.Equal(t, "moved "+first.Key.ID, moved.Change+" "+moved.Key.ID)
	assert.Contains(t, do("key", "list", "acme/orders"), "token")
	assert.Contains(t, do("key", "show", "acme/orders"), first.Key.Public)
	assert.NotContains(t, do("key", "show", "acme/orders", "--reveal", "--json"), `"secret"`, "there is none to reveal")

	document := filepath.Join(dir, "orders.json")
	require.NoError(t, os.WriteFile(document, []byte(`{"tenant":"acme","name":"orders","url":"https://hooks.example.com/in","signature":{"schemes":["v1a","rfc9421-ecdsa-p256-sha256"]}}`), 0o600))
	do("endpoint", "apply", "-f", document)
	s := begin(t, "signer", "--server", "nats://"+address, "--http", page, "--master-key-file", master)
	do("event", "publish", "--tenant", "acme", "--type", "com.acme.order.created", "--source", "/shop", "--id", "1", "--data", `{"n":1}`)
	until(t, func() bool { return strings.Contains(s.err.String(), "a library that this signer may not load") }, "a module that nobody named is not loaded")
	assert.Zero(t, s.end())

	s = begin(t, "signer", "--server", "nats://"+address, "--http", page, "--master-key-file", master, "--token-module", module)
	says(t, "http://"+page+"/.well-known/jwks.json", http.StatusOK, first.Key.ID)
	says(t, "http://"+page+"/.well-known/jwks.json", http.StatusOK, second.Key.ID)
	delivery := delivered(t, address, 1)
	assert.ElementsMatch(t, []string{"v1a=" + first.Key.ID, signature.HTTPECDSA + "=" + second.Key.ID}, delivery.Keys)
	verifies(t, delivery, "v1a", first.Key.Public)
	verifies(t, delivery, signature.HTTPECDSA, second.Key.Public)

	// A rotation within the token; the next key is registered where the token is out of reach.
	status, _, stderr := try("key", "rotate", "acme/orders", "--scheme", "v1a", "--yes")
	assert.Equal(t, 1, status)
	assert.Contains(t, stderr, "stays in a token")
	next := change("key", "import", "acme/orders", "--scheme", "v1a", "--token", uri("edwards2"), "--public-key", publicOf(t, uri("edwards2")))
	assert.Equal(t, "next", next.Key.State)
	rotated := change("key", "rotate", "acme/orders", "--scheme", "v1a", "--overlap", "1h")
	assert.Equal(t, next.Key.ID, rotated.Key.ID)
	do("key", "revoke", "acme/orders", first.Key.ID, "--yes")
	says(t, "http://"+page+"/keys/acme/orders", http.StatusOK, next.Key.Public)
	until(t, func() bool {
		_, body := get("http://" + page + "/keys/acme/orders")
		return !strings.Contains(body, first.Key.ID)
	}, "the revoked key is not shown")
	do("event", "publish", "--tenant", "acme", "--type", "com.acme.order.created", "--source", "/shop", "--id", "2", "--data", `{"n":2}`)
	delivery = delivered(t, address, 2)
	assert.Contains(t, delivery.Keys, "v1a="+next.Key.ID)
	verifies(t, delivery, "v1a", next.Key.Public)
	assert.Zero(t, s.end())
	assert.NotContains(t, s.err.String(), tokenPIN)
}

// publicOf asks the token, as an operator's tool does.
func publicOf(t *testing.T, uri string) string {
	t.Helper()
	key, err := (&keyImportCommand{schemeFlag: schemeFlag{Scheme: "v1a"}, Token: uri}).inToken(t.Context())
	require.NoError(t, err)
	return key.Public()
}

// delivered waits for the n-th signed request.
func delivered(t *testing.T, address string, n uint64) stream.Signed {
	t.Helper()
	nc, err := nats.Connect("nats://" + address)
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	all, err := js.Stream(t.Context(), stream.Deliveries)
	require.NoError(t, err)
	var msg *jetstream.RawStreamMsg
	until(t, func() bool { msg, err = all.GetMsg(t.Context(), n); return err == nil }, "a signed request")
	signed, err := stream.ParseSigned(msg.Subject, msg.Header, msg.Data)
	require.NoError(t, err)
	return signed
}

func verifies(t *testing.T, signed stream.Signed, scheme, public string) {
	t.Helper()
	v, err := signature.ParsePublicKey(scheme, public)
	require.NoError(t, err)
	header := http.Header{}
	for name, values := range signed.Header {
		header[http.CanonicalHeaderKey(name)] = values
	}
	in := signature.Received{Method: http.MethodPost, Authority: "hooks.example.com", Target: "/in", Header: header, Body: signed.Body}
	_, err = signature.Verify(scheme, in, []signature.Verifier{v}, signed.SignedAt, 0)
	assert.NoError(t, err, scheme)
}
