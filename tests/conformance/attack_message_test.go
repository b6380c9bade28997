package conformance

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/receiver"
	"github.com/handfast/handfast/pkg/signature"
)

// changed replaces text in the value of one field, and insists that it was there.
func (l letter) changed(t *testing.T, name, old, text string) letter {
	t.Helper()
	value := l.value(name)
	require.Contains(t, value, old)
	return l.with(name, name+": "+strings.ReplaceAll(value, old, text))
}

// TestMessageSignatureForgeries attacks RFC 9421: what it signs beside the body, its parameters, and its many labels.
func TestMessageSignatureForgeries(t *testing.T) {
	for _, scheme := range []string{signature.HTTPEd25519, signature.HTTPECDSA, signature.HTTPHMAC} {
		t.Run(scheme, func(t *testing.T) {
			g := aim(t, nil, scheme)
			at := g.now()
			honest := g.sign("msg_1", at, attackBody)
			created := "created=" + strconv.FormatInt(at.Unix(), 10)
			input, sig := honest.value("signature-input"), honest.value("signature")
			label, list, ok := strings.Cut(input, "=")
			require.True(t, ok)
			_, raw, ok := strings.Cut(sig, "=")
			require.True(t, ok)
			_, keyID, ok := strings.Cut(input, `keyid="`)
			require.True(t, ok)
			keyID, _, _ = strings.Cut(keyID, `"`)
			to := func(method, target string) letter { l := honest; l.method, l.target = method, target; return l }
			hosted := honest
			hosted.host = "elsewhere.example"
			many := func(n int) letter {
				inputs, signatures := make([]string, n), make([]string, n)
				for i := range n {
					inputs[i], signatures[i] = "x"+strconv.Itoa(i)+"="+strings.Replace(list, `"@method"`, `"@authority"`, 1), "x"+strconv.Itoa(i)+"="+raw
				}
				return honest.with("signature-input", "signature-input: "+strings.Join(inputs, ", ")).with("signature", "signature: "+strings.Join(signatures, ", "))
			}
			other := aim(t, nil, scheme)
			other.address = g.address
			for name, c := range map[string]struct {
				letter letter
				status []int
			}{
				"another path":               {to(http.MethodPost, "/admin/delete?tenant=a"), []int{401}},
				"another query":              {to(http.MethodPost, "/hooks/in?tenant=b"), []int{401}},
				"no query":                   {to(http.MethodPost, "/hooks/in"), []int{401}},
				"the path escaped":           {to(http.MethodPost, "/hooks/%69n?tenant=a"), []int{401}},
				"a path with dots":           {to(http.MethodPost, "/hooks/../hooks/in?tenant=a"), []int{401}},
				"another path, absolute":     {to(http.MethodPost, "https://"+g.address+"/admin/delete?tenant=a"), []int{401}},
				"another host, absolute":     {to(http.MethodPost, "https://elsewhere.example"+honest.target), []int{401}},
				"no path":                    {to(http.MethodPost, "*"), []int{400, 401}},
				"another method":             {to(http.MethodPut, honest.target), []int{405}},
				"another host":               {hosted, []int{401}},
				"another type":               {honest.with("content-type", "content-type: text/html"), []int{401}},
				"no type":                    {honest.with("content-type"), []int{401}},
				"another id":                 {honest.with("webhook-id", "webhook-id: msg_2"), []int{401}},
				"no id":                      {honest.with("webhook-id"), []int{401}},
				"another body":               {func() letter { l := honest; l.body = `{"order":2}`; return l }(), []int{401}},
				"another body and digest":    {g.sign("msg_1", at, `{"order":2}`).with("signature", "signature: "+sig), []int{401}},
				"no digest":                  {honest.with("content-digest"), []int{401}},
				"another digest":             {honest.with("content-digest", "content-digest: sha-256=:AAAA:"), []int{401}},
				"a doubled digest":           {honest.with("content-digest", "content-digest: "+honest.value("content-digest"), "content-digest: sha-256=:AAAA:"), []int{401}},
				"a weak digest":              {honest.with("content-digest", "content-digest: md5=:AAAA:"), []int{401}},
				"created later":              {honest.changed(t, "signature-input", created, "created="+strconv.FormatInt(at.Unix()+1, 10)), []int{401}},
				"created nowhere":            {honest.changed(t, "signature-input", ";"+created, ""), []int{401}},
				"created as text":            {honest.changed(t, "signature-input", created, `created="now"`), []int{401}},
				"created before 1970":        {honest.changed(t, "signature-input", created, "created=-1"), []int{401}},
				"created twice":              {honest.changed(t, "signature-input", created, created+";"+created), []int{401}},
				"six minutes ago":            {g.sign("msg_1", at.Add(-6*time.Minute), attackBody), []int{401}},
				"in six minutes":             {g.sign("msg_1", at.Add(6*time.Minute), attackBody), []int{401}},
				"expires later":              {honest.changed(t, "signature-input", ";expires=", ";expires=9"), []int{401}},
				"expires never":              {honest.changed(t, "signature-input", ";expires=", ";x="), []int{401}},
				"another key's id":           {honest.changed(t, "signature-input", keyID, "key_other"), []int{401}},
				"no key's id":                {honest.changed(t, "signature-input", `;keyid="`+keyID+`"`, ""), []int{401}},
				"an algorithm named":         {honest.changed(t, "signature-input", ";keyid", `;alg="hmac-sha256";keyid`), []int{401}},
				"no algorithm":               {honest.changed(t, "signature-input", ";keyid", `;alg="none";keyid`), []int{401}},
				"another tag":                {honest.changed(t, "signature-input", `tag="webhook"`, `tag="other"`), []int{401}},
				"a component less":           {honest.changed(t, "signature-input", `"@path" `, ""), []int{401}},
				"no components":              {honest.with("signature-input", "signature-input: "+label+"=();"+created+`;keyid="`+keyID+`";tag="webhook"`), []int{401}},
				"another label":              {honest.changed(t, "signature", label+"=", "x="), []int{401}},
				"no input":                   {honest.with("signature-input"), []int{401}},
				"no signature":               {honest.with("signature"), []int{401}},
				"an empty signature":         {honest.with("signature", "signature: "+label+"=::"), []int{401}},
				"a signature that is text":   {honest.with("signature", "signature: "+label+`="x"`), []int{401}},
				"a doubled input":            {honest.with("signature-input", "signature-input: "+input, "Signature-Input: "+input), []int{401}},
				"a doubled signature":        {honest.with("signature", "signature: "+sig, "SIGNATURE: "+sig), []int{401}},
				"an input with '_' beside":   {honest.with("signature_input", "signature_input: "+input), []int{400}},
				"not a dictionary":           {honest.with("signature-input", "signature-input: "+strings.Repeat("(", 1000)), []int{401}},
				"32 signatures":              {many(32), []int{401}},
				"10,000 signatures":          {many(10_000), []int{431, 0}},
				"10,000 empty labels":        {honest.with("signature-input", "signature-input: "+strings.Repeat("a,", 7_000)+"a"), []int{401}},
				"Standard Webhooks' instead": {aim(t, nil, signature.V1).sign("msg_1", at, attackBody), []int{401}},
				"keys of another":            {other.sign("msg_1", at, attackBody), []int{401}},
			} {
				t.Run(name, func(t *testing.T) {
					allocated := allocation(func() { assert.Contains(t, c.status, g.post(friend, c.letter)) })
					assert.LessOrEqual(t, allocated, 8<<20+8*uint64(len(strings.Join(c.letter.header, ""))))
					assert.Zero(t, g.calls.Load())
				})
			}
			g.offset.Store(int64(time.Second))
			require.Equal(t, http.StatusOK, g.post(friend, honest), "the honest one passes")
			for _, after := range []time.Duration{time.Second, 4 * time.Minute} {
				g.offset.Store(int64(after))
				assert.Equal(t, receiver.StatusReplay, g.post(friend, honest))
				relabelled := honest.changed(t, "signature-input", label+"=", "renamed=").changed(t, "signature", label+"=", "renamed=")
				assert.Equal(t, receiver.StatusReplay, g.post(another, relabelled), "a label has no meaning")
			}
			assert.EqualValues(t, 1, g.calls.Load())
			g.offset.Store(int64(6 * time.Minute))
			assert.Equal(t, http.StatusUnauthorized, g.post(friend, honest))
		})
	}
}

// TestAlgorithmConfusion signs with the public key of a pair as if it were a shared secret, in each way that has both.
func TestAlgorithmConfusion(t *testing.T) {
	g := aim(t, nil, signature.V1a, signature.HTTPEd25519, signature.HTTPECDSA)
	for _, key := range g.keys {
		require.NotEmpty(t, key.Public())
		for _, scheme := range []string{signature.V1, signature.HTTPHMAC} {
			forger := aim(t, nil, scheme)
			forger.address = g.address
			if secret, err := signature.ParseSecret(scheme, key.Public()); err == nil {
				secret.State = signature.Active
				forger.keys = []signature.Key{secret}
			}
			forged := forger.sign("msg_1", g.now(), attackBody)
			for old, text := range map[string]string{"v1,": "v1a,", forger.keys[0].ID: key.ID} {
				for _, name := range []string{"webhook-signature", "signature-input"} {
					if strings.Contains(forged.value(name), old) {
						forged = forged.changed(t, name, old, text)
					}
				}
			}
			assert.Equal(t, http.StatusUnauthorized, g.post(friend, forged), "%s as %s", key.Scheme, scheme)
		}
	}
	assert.Zero(t, g.calls.Load())
	g.unharmed()
}
