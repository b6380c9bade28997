package conformance

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

// verifiers asks the providers' own libraries for JavaScript about one request, as it came and with its body changed, and
// prints who says yes.
const verifiers = `
import { readFileSync } from "node:fs";
import { verify } from "@octokit/webhooks-methods";
import Stripe from "stripe";
import twilio from "twilio";
import { Webhook } from "svix";

const { secrets, headers, body, url } = JSON.parse(readFileSync(0, "utf8"));
const stripe = new Stripe("sk_test_none");
const judges = {
  github: (text) => verify(secrets.github, text, headers["x-hub-signature-256"]),
  stripe: (text) => Boolean(stripe.webhooks.constructEvent(text, headers["stripe-signature"], secrets.stripe)),
  twilio: (text) => twilio.validateRequestWithBody(secrets.twilio, headers["x-twilio-signature"], url, text),
  v1: (text) => Boolean(new Webhook(secrets.v1).verify(text, headers)),
};
const answers = {};
for (const [scheme, judge] of Object.entries(judges)) {
  answers[scheme] = [];
  for (const text of [body, body.replace("1", "2")]) {
    try {
      answers[scheme].push(await judge(text));
    } catch {
      answers[scheme].push(false);
    }
  }
}
console.log(JSON.stringify(answers));
`

// TestTheProvidersOwnLibrariesVerify needs octokit, stripe, twilio and svix among the modules.
func TestTheProvidersOwnLibrariesVerify(t *testing.T) {
	modules, err := filepath.Abs(os.Getenv("HANDFAST_NODE_MODULES"))
	require.NoError(t, err)
	for _, name := range []string{"@octokit/webhooks-methods", "stripe", "twilio", "svix"} {
		if _, err := os.Stat(filepath.Join(modules, name)); err != nil || os.Getenv("HANDFAST_NODE_MODULES") == "" {
			t.Skip("HANDFAST_NODE_MODULES does not tell a folder with " + name)
		}
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "verifiers.mjs"), []byte(verifiers), 0o600))
	require.NoError(t, os.Symlink(modules, filepath.Join(dir, "node_modules")))

	schemes := []string{signature.V1, signature.GitHub, signature.Stripe, signature.Twilio}
	secrets := map[string]string{}
	var keys []signature.Key
	for _, scheme := range schemes {
		key, err := signature.GenerateKey(scheme, time.Now(), bytes.NewReader(bytes.Repeat([]byte(scheme+" 0123456789"), 9)))
		require.NoError(t, err)
		key.ID, key.State = scheme, signature.Active
		keys, secrets[scheme] = append(keys, key), key.Reveal()
	}
	ring, err := signature.NewRing(keys...)
	require.NoError(t, err)
	r := signature.Request{
		ID: "msg_1", Time: time.Now(), Method: http.MethodPost, URL: "https://hooks.example.com/in?tenant=a", Header: http.Header{"Content-Type": {"application/json"}},
		Body: []byte(`{"customer":"Zoë 😀","total":1.10}`),
	}
	query, err := signature.Query(r, schemes)
	require.NoError(t, err)
	r.URL = signature.Extend(r.URL, query)
	fields, _, err := signature.Signer{}.Sign(r, schemes, ring)
	require.NoError(t, err)
	headers := map[string]string{}
	for _, f := range fields {
		headers[f.Name] = f.Value
	}
	input, err := json.Marshal(map[string]any{"secrets": secrets, "headers": headers, "body": string(r.Body), "url": r.URL})
	require.NoError(t, err)
	node := exec.CommandContext(t.Context(), "node", "verifiers.mjs")
	node.Dir, node.Stdin = dir, bytes.NewReader(input)
	out, err := node.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.JSONEq(t, `{"github":[true,false],"stripe":[true,false],"twilio":[true,false],"v1":[true,false]}`, string(out))
}
