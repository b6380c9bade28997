package operator_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/mtls/authority"
	"github.com/handfast/handfast/services/handfast/operator"
)

const one, two = "tenant: acme\nname: one\nurl: https://one.example/\n", "tenant: acme\nname: two\nurl: https://two.example/\n"

func keys(all []*endpoint.Endpoint) []string {
	var names []string
	for _, e := range all {
		names = append(names, e.Key().String())
	}
	return names
}

func TestDocumentsOfOneText(t *testing.T) {
	ca, err := authority.New("test authority")
	require.NoError(t, err)
	pem := strings.ReplaceAll(strings.TrimSpace(string(ca.CertificatePEM())), "\n", "\n      ")
	withRoots := one + "tls:\n  trust:\n    roots: |\n      " + pem + "\n"
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"one":                      {one, []string{"acme/one"}},
		"two":                      {one + "---\n" + two, []string{"acme/one", "acme/two"}},
		"separators all around":    {"\n---\n# first\n" + one + "---\n---   \n# nothing\n--- # second\n" + two + "---\n", []string{"acme/one", "acme/two"}},
		"Windows":                  {strings.ReplaceAll(one+"---\n"+two, "\n", "\r\n"), []string{"acme/one", "acme/two"}},
		"byte order mark":          {"\xef\xbb\xbf" + one + "---\n" + two, []string{"acme/one", "acme/two"}},
		"PEM is no separator":      {withRoots + "---\n" + two, []string{"acme/one", "acme/two"}},
		"JSON":                     {`{"tenant":"acme","name":"one","url":"https://one.example/"}`, []string{"acme/one"}},
		"JSON with hyphens inside": {"{\"tenant\":\"acme\",\"name\":\"one\",\"url\":\"https://one.example/\",\"description\":\"a\"\n}\n", []string{"acme/one"}},
	} {
		t.Run(name, func(t *testing.T) {
			all, err := operator.ParseDocuments([]operator.Source{{Name: "x.yaml", Text: []byte(c.text)}})
			require.NoError(t, err)
			assert.Equal(t, c.want, keys(all))
		})
	}
}

func TestEveryMistakeOfEveryDocumentIsTold(t *testing.T) {
	_, err := operator.ParseDocuments([]operator.Source{
		{Name: "a.yaml", Text: []byte(one + "---\ntenant: acme\nname: two\n")},
		{Name: "b.yaml", Text: []byte("# nothing\n---\n")},
		{Name: "c.yaml", Text: []byte(one)},
	})
	require.Error(t, err)
	assert.Equal(t, strings.Join([]string{
		"a.yaml, line 5: the endpoint document is not valid: url: is required: write the https address that receives the requests",
		"b.yaml: there is no endpoint document in it",
		"c.yaml: endpoint acme/one stands in a.yaml, line 1 already; keep one of them",
	}, "\n"), err.Error())
}

func TestYAMLCanBeAppliedAgain(t *testing.T) {
	ca, err := authority.New("test authority")
	require.NoError(t, err)
	roots, err := json.Marshal(string(ca.CertificatePEM()))
	require.NoError(t, err)
	e, err := endpoint.Parse([]byte(`{"ordered":false,"paused":true,"limits":{"timeout":"5s","concurrency":4},"url":"https://one.example/in?a=b","name":"one",
		"description":"a: b # c\nd","tls":{"trust":{"roots":` + string(roots) + `},"identity":"yes"},"filter":{"cesql":"a = 'b'","types":["*","no"]},"tenant":"0123"}`))
	require.NoError(t, err)
	text, err := operator.YAML(e)
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(string(text), "tenant: \"0123\"\nname: one\nurl: https://one.example/in?a=b\n"), "%s", text)
	assert.Contains(t, string(text), "    roots: |\n      -----BEGIN CERTIFICATE-----\n")
	again, err := endpoint.Parse(text)
	require.NoError(t, err, "%s", text)
	first, err := json.Marshal(e)
	require.NoError(t, err)
	second, err := json.Marshal(again)
	require.NoError(t, err)
	assert.JSONEq(t, string(first), string(second))
}

func FuzzParseDocuments(f *testing.F) {
	for _, seed := range []string{one, one + "---\n" + two, "---\n---", "{}", "--- #\n{", "a: |\n  ---\n", "\xef\xbb\xbf---"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := operator.ParseDocuments([]operator.Source{{Name: "x", Text: text}})
		if err != nil {
			assert.Empty(t, all)
			return
		}
		require.NotEmpty(t, all)
		for _, e := range all {
			text, err := operator.YAML(e)
			require.NoError(t, err)
			_, err = endpoint.Restore(text)
			require.NoError(t, err, "%s", text)
		}
	})
}
