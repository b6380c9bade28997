package conformance

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/signature"
)

// TestPoliciesAreJudgedAlike holds the policy of an endpoint's document against the signer's, for every scheme and every
// list of algorithms, so that what is applied is signed, and what a signer refuses is never accepted.
func TestPoliciesAreJudgedAlike(t *testing.T) {
	names := signature.Algorithms()
	accepted := 0
	for _, scheme := range signature.Schemes() {
		for _, own := range []string{"", "hmac-sha256", "hmac-sha512"} {
			if own != "" && scheme != signature.TemplateScheme {
				continue
			}
			for mask := range 1 << len(names) {
				var allowed []string
				for i, name := range names {
					if mask&(1<<i) != 0 {
						allowed = append(allowed, name)
					}
				}
				section := map[string]any{"schemes": []string{scheme}}
				if allowed != nil {
					section["algorithms"] = allowed
				}
				template := signature.Template{}
				if scheme == signature.TemplateScheme {
					template = signature.Template{Header: "X-Acme", Content: "{body}", Algorithm: own}
					given := map[string]string{"header": "X-Acme", "content": "{body}"}
					if own != "" {
						given["algorithm"] = own
					}
					section["template"] = given
				}
				document, err := json.Marshal(map[string]any{"tenant": "a", "name": "b", "url": "https://example.com/", "signature": section})
				require.NoError(t, err)
				_, refused := endpoint.Parse(document)
				problem := signature.Policy{Algorithms: allowed}.Check([]string{scheme}, template)
				require.Equal(t, refused == nil, problem == nil, "%s\ndocument: %v\nsigner: %v", document, refused, problem)
				restored, err := endpoint.Restore(document)
				require.NoError(t, err)
				assert.Equal(t, problem == nil, restored.Signature.Allows(scheme))
				assert.Equal(t, problem == nil, len(restored.Signature.Refused()) == 0)
				if refused == nil {
					accepted++
				}
			}
		}
	}
	assert.Greater(t, accepted, 100, "the table is not all refusals")
}

// TestAlgorithmsAreTheSchemas holds the schema's choices against what schemes sign with.
func TestAlgorithmsAreTheSchemas(t *testing.T) {
	_, err := endpoint.Parse([]byte(`{"tenant":"a","name":"b","url":"https://example.com","signature":{"algorithms":["md5"]}}`))
	all := signature.Algorithms()
	last := len(all) - 1
	require.ErrorContains(t, err, "choose from "+strings.Join(all[:last], ", ")+" and "+all[last])
	_, err = endpoint.Parse([]byte(`{"tenant":"a","name":"b","url":"https://example.com","signature":{"algorithms":["` + strings.Join(all, `","`) + `"]}}`))
	require.NoError(t, err)
	_, err = endpoint.Parse([]byte(`{"tenant":"a","name":"b","url":"https://example.com","signature":{"retiring":{"x":""}}}`))
	schemes := slices.Clone(signature.Schemes())
	require.ErrorContains(t, err, "the fields in signature.retiring are "+strings.Join(schemes[:12], ", ")+" and template")
}
