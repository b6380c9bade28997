package listener_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/services/handfast/listener"
)

func TestConsentIsGivenUnlessRefused(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		said := make(chan string, 4)
		w := start(t, func(_ *world, o *listener.Options) {
			o.Refuse, o.Rate, o.Asked = refuse, 120, func(words string) { said <- words }
		})
		client := w.client(t, w.ca)
		ask := func(method, field, value string) (*http.Response, map[string]string) {
			request, err := http.NewRequestWithContext(t.Context(), method, "https://"+w.open.Address()+"/", http.NoBody)
			require.NoError(t, err)
			request.Header.Set(field, value)
			response, err := client.Do(request)
			require.NoError(t, err)
			defer response.Body.Close()
			body := map[string]string{}
			if method == http.MethodGet {
				require.NoError(t, json.NewDecoder(response.Body).Decode(&body))
			}
			return response, body
		}
		response, _ := ask(http.MethodOptions, "WebHook-Request-Origin", "webhooks.acme.example")
		assert.Equal(t, http.StatusNoContent, response.StatusCode)
		words := <-said
		assert.Contains(t, words, `as "webhooks.acme.example" (OPTIONS)`)
		intent, body := ask(http.MethodGet, "X-AdobeSign-ClientId", "CBJ")
		assert.Equal(t, http.StatusOK, intent.StatusCode)
		assert.Contains(t, <-said, `as client "CBJ" (GET)`)
		status, err := w.post(t, client, func(r *http.Request) { r.Header.Set("X-AdobeSign-ClientId", "CBJ") })
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, status)
		<-w.shown
		if refuse {
			assert.Empty(t, response.Header.Get("WebHook-Allowed-Origin"))
			assert.Contains(t, words, "not given")
			assert.Empty(t, intent.Header.Get("X-AdobeSign-ClientId"))
			assert.Empty(t, body)
			continue
		}
		assert.Equal(t, "webhooks.acme.example", response.Header.Get("WebHook-Allowed-Origin"))
		assert.Equal(t, "120", response.Header.Get("WebHook-Allowed-Rate"))
		assert.Contains(t, words, "given, at 120 requests per minute")
		assert.Equal(t, "CBJ", intent.Header.Get("X-AdobeSign-ClientId"))
		assert.Equal(t, map[string]string{"xAdobeSignClientId": "CBJ"}, body)
	}
}

func TestAKnockWithoutAnOriginIsNoQuestion(t *testing.T) {
	w := start(t, func(_ *world, o *listener.Options) { o.Asked = func(words string) { t.Error(words) } })
	request, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, "https://"+w.open.Address()+"/", http.NoBody)
	require.NoError(t, err)
	response, err := w.client(t, w.ca).Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	assert.Equal(t, http.StatusNoContent, response.StatusCode)
	assert.Empty(t, response.Header.Get("WebHook-Allowed-Origin"))
}
