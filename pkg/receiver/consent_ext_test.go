package receiver_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/receiver"
	"github.com/handfast/handfast/pkg/signature"
)

func TestConsentIsGivenToKnownOriginsOnly(t *testing.T) {
	for name, c := range map[string]struct {
		origins []string
		rate    int
		asked   []string
		allowed string
		perMin  string
	}{
		"nobody is allowed by default":  {nil, 0, []string{"a.example"}, "", ""},
		"a rate alone allows nobody":    {nil, 5, []string{"a.example"}, "", ""},
		"a known origin":                {[]string{"b.example", "a.example"}, 0, []string{"a.example"}, "a.example", "*"},
		"a known origin in capitals":    {[]string{"A.example"}, 120, []string{"a.EXAMPLE"}, "a.EXAMPLE", "120"},
		"another one":                   {[]string{"a.example"}, 0, []string{"b.example"}, "", ""},
		"a longer one":                  {[]string{"a.example"}, 0, []string{"a.example.evil"}, "", ""},
		"a shorter one":                 {[]string{"www.a.example"}, 0, []string{"www.a"}, "", ""},
		"every origin":                  {[]string{"*"}, 0, []string{"b.example"}, "b.example", "*"},
		"every origin, but that is one": {[]string{"*"}, 0, []string{"a.example, b.example"}, "", ""},
		"an asterisk is no origin":      {[]string{"*"}, 0, []string{"*"}, "", ""},
		"two fields":                    {[]string{"*"}, 0, []string{"a.example", "a.example"}, "", ""},
		"nobody asks":                   {[]string{"*"}, 0, nil, "", ""},
		"an empty name":                 {[]string{"*"}, 0, []string{""}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDirect(t, func(o *receiver.Options) { o.Origins, o.Rate = c.origins, c.rate })
			req := d.request("a", time.Now(), "")
			req.Method = http.MethodOptions
			for _, origin := range c.asked {
				req.Header.Add("WebHook-Request-Origin", origin)
			}
			reply := d.send(req)
			assert.Equal(t, http.StatusNoContent, reply.Code)
			assert.Equal(t, c.allowed, reply.Header().Get("WebHook-Allowed-Origin"))
			assert.Equal(t, c.perMin, reply.Header().Get("WebHook-Allowed-Rate"))
			assert.Equal(t, "POST", reply.Header().Get("Allow"))
		})
	}
}

func TestAdobesClientIDIsEchoed(t *testing.T) {
	d := newDirect(t, func(o *receiver.Options) { o.AdobeClientIDs = []string{"other", "CBJ"} })
	intent := func(ids ...string) (int, string, string) {
		req := d.request("a", time.Now(), "")
		req.Method = http.MethodGet
		for _, id := range ids {
			req.Header.Add("X-AdobeSign-ClientId", id)
		}
		reply := d.send(req)
		return reply.Code, reply.Header().Get("X-AdobeSign-ClientId"), reply.Body.String()
	}
	status, header, body := intent("CBJ")
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, "CBJ", header)
	assert.JSONEq(t, `{"xAdobeSignClientId":"CBJ"}`, body)
	for _, ids := range [][]string{nil, {""}, {"cbj"}, {"CBJx"}, {"CBJ", "CBJ"}, {"CBJ, other"}} {
		status, header, body := intent(ids...)
		assert.Equal(t, http.StatusForbidden, status, ids)
		assert.Empty(t, header, ids)
		assert.NotContains(t, body, "CBJ", "a stranger is not told what would do")
	}
	assert.Zero(t, d.calls)

	deliver := func(id, client string) (int, string) {
		req := d.request(id, time.Now(), "{}")
		if client != "" {
			req.Header.Set("X-AdobeSign-ClientId", client)
		}
		reply := d.send(req)
		return reply.Code, reply.Header().Get("X-AdobeSign-ClientId")
	}
	status, header = deliver("a", "CBJ")
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, "CBJ", header)
	status, _ = deliver("b", "somebody")
	assert.Equal(t, http.StatusForbidden, status)
	status, _ = deliver("c", "")
	assert.Equal(t, http.StatusForbidden, status)
	assert.Equal(t, 1, d.calls, "none of the others was processed")

	again := d.request("a", time.Now().Add(2*time.Second), "{}")
	again.Header.Set("X-AdobeSign-ClientId", "CBJ")
	reply := d.send(again)
	assert.Equal(t, http.StatusNoContent, reply.Code, "a duplicate")
	assert.Equal(t, "CBJ", reply.Header().Get("X-AdobeSign-ClientId"), "is acknowledged as such a sender understands it")
}

func TestAdobesFieldMeansNothingByDefault(t *testing.T) {
	d := newDirect(t, nil)
	req := d.request("a", time.Now(), "{}")
	req.Header.Set("X-AdobeSign-ClientId", "CBJ")
	reply := d.send(req)
	assert.Equal(t, http.StatusOK, reply.Code)
	assert.Empty(t, reply.Header().Get("X-AdobeSign-ClientId"))
}

func TestConsentsOptionsAreChecked(t *testing.T) {
	_, verifier, err := newKey(signature.V1a)
	require.NoError(t, err)
	_, err = receiver.New(receiver.Options{
		Clients: []string{sender}, Keys: []signature.Verifier{verifier}, Origins: []string{"*", "a.example", "*.example", ""}, Rate: -1, AdobeClientIDs: []string{"", "a b", "ok"},
	})
	for _, words := range []string{"Origins[2]", "Origins[3]", "Rate is -1", "AdobeClientIDs[0]", "AdobeClientIDs[1]"} {
		require.ErrorContains(t, err, words)
	}
	assert.NotContains(t, err.Error(), "Origins[0]")
	assert.NotContains(t, err.Error(), "AdobeClientIDs[2]")
}
