package conformance

import (
	"bytes"
	"encoding/json"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/signature"
)

// TestVerifiersInNode is the same for the libraries of the providers and of Standard Webhooks for JavaScript.
func TestVerifiersInNode(t *testing.T) {
	dir, name := script(t, "testdata/verifiers.mjs")
	for _, module := range []string{"standardwebhooks", "svix", "@octokit/webhooks-methods", "stripe", "twilio"} {
		require.DirExists(t, filepath.Join(dir, "node_modules", module), "HANDFAST_NODE_MODULES lacks it; .ci/run installs it")
	}
	covers := map[string][]string{
		"standardwebhooks": {theBody, theKey, theID, theTime},
		"svix":             {theBody, theKey, theID, theTime},
		"octokit":          {theBody, theKey},
		"stripe":           {theBody, theKey, theTime},
		"twilio":           {theBody, theKey, theTarget},
	}
	for _, protocol := range []string{"http/1.1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			came := delivered(t, protocol)
			whats := slices.Sorted(maps.Keys(forgeries()))
			copies := []any{nodeCopy(came)}
			for _, what := range whats {
				copies = append(copies, nodeCopy(forged(t, came, forgeries()[what])))
			}
			input, err := json.Marshal(copies)
			require.NoError(t, err)
			node := exec.CommandContext(t.Context(), "node", name)
			node.Dir, node.Stdin = dir, bytes.NewReader(input)
			out, err := node.CombinedOutput()
			require.NoError(t, err, "%s", out)
			var refusals map[string][]string // empty where the library says yes
			require.NoError(t, json.Unmarshal(out, &refusals), "%s", out)
			require.ElementsMatch(t, slices.Collect(maps.Keys(covers)), slices.Collect(maps.Keys(refusals)))
			for library, said := range refusals {
				require.Len(t, said, len(copies))
				assert.Empty(t, said[0], "%s: as it came", library)
				for i, what := range whats {
					assert.Equal(t, slices.Contains(covers[library], forgeries()[what].of), said[i+1] != "", "%s: %s: %s", library, what, said[i+1])
				}
			}
		})
	}
}

// nodeCopy is an arrival as JavaScript has one.
func nodeCopy(a arrival) map[string]any {
	headers := make(map[string]string, len(a.header))
	for name, values := range a.header {
		headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	secrets := make(map[string]string)
	for _, scheme := range []string{signature.V1, signature.GitHub, signature.Stripe, signature.Twilio} {
		secrets[scheme] = a.keys[scheme].Reveal()
	}
	return map[string]any{"headers": headers, "body": a.body, "url": "https://" + a.host + a.target, "secrets": secrets}
}
