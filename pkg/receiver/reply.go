package receiver

import (
	"encoding/json"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// refuse answers with the reason in words. The errors of this package and of
// signature repeat nothing of the request, so they can be told to the caller.
func refuse(w http.ResponseWriter, span trace.Span, status int, err error) {
	span.SetAttributes(attribute.Int("http.response.status_code", status))
	span.SetStatus(codes.Error, err.Error())
	body, encodeErr := json.Marshal(map[string]string{"error": err.Error()})
	if encodeErr != nil { // cannot happen for a string
		body = []byte(`{"error":"refused"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `StandardWebhooks realm="webhooks"`) // RFC 9110 section 11.6.1 wants one
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the caller is gone if this fails
}
