package receiver

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// StatusReplay is the answer to an attempt that was seen before: 425 Too Early, the status of a server that does not want
// to process what might be a replay (RFC 8470, section 5.2). An honest sender that repeated an attempt byte by byte, after
// a crash say, takes it as "not now", signs anew and is understood.
const StatusReplay = http.StatusTooEarly

var (
	errReplayed = errors.New("this attempt, or a later one of the same delivery, was seen before; a new attempt needs a later timestamp and a new signature")
	errChanged  = errors.New("the id was used before with another body; every message needs an id of its own")
	errBusy     = errors.New("the same delivery is being processed right now; send it again later")
	errStore    = errors.New("the receiver cannot remember deliveries at the moment; send it again later")
)

// storeTimeout bounds how long the store may take before the handler, and again after it, when the request's own context
// may have ended.
const storeTimeout = 5 * time.Second

// maxRetryAfter is the longest wait that is asked for, in seconds.
const maxRetryAfter = 30

// once runs the handler if the attempt is the one that may be processed, and answers in its place if it is not.
func (g guard) once(w http.ResponseWriter, r *http.Request, a attempt, next http.Handler) {
	span := trace.SpanFromContext(r.Context())
	state, wait, err := g.begin(r.Context(), &a)
	span.SetAttributes(attribute.String("handfast.delivery.standing", state.String()))
	switch state {
	case claimed:
		g.handle(w, r, &a, next)
	case duplicate:
		span.SetAttributes(attribute.Int("http.response.status_code", http.StatusNoContent))
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusNoContent)
	case busy:
		retryAfter(w, wait)
		refuse(w, span, http.StatusServiceUnavailable, errBusy)
	case replayed:
		refuse(w, span, StatusReplay, errReplayed)
	case changed:
		refuse(w, span, http.StatusConflict, errChanged)
	case unclear:
		span.RecordError(err)
		retryAfter(w, 0)
		refuse(w, span, http.StatusServiceUnavailable, errStore)
	}
}

func (g guard) begin(ctx context.Context, a *attempt) (standing, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return g.ledger.begin(ctx, a)
}

func retryAfter(w http.ResponseWriter, wait time.Duration) {
	seconds := min(max(int(wait.Seconds()), 1), maxRetryAfter)
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
}

// handle notes the delivery as processed only when the handler answered 2xx and came to its end. Anything else, a panic
// included, leaves it open for a later attempt.
func (g guard) handle(w http.ResponseWriter, r *http.Request, a *attempt, next http.Handler) {
	span := trace.SpanFromContext(r.Context())
	ctx, cancel := context.WithTimeout(r.Context(), g.HandlerTimeout)
	defer cancel()
	watched := &watchedWriter{ResponseWriter: w}
	as := released
	defer func() {
		after, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), storeTimeout)
		defer cancel()
		if err := g.ledger.end(after, a, as); err != nil {
			// The answer is given. The claim's lease still keeps repetitions away for a while.
			span.RecordError(err)
		}
	}()
	next.ServeHTTP(watched, r.WithContext(ctx))
	if watched.succeeded() {
		as = done
	}
}

// watchedWriter remembers the status that the handler answered.
type watchedWriter struct {
	http.ResponseWriter

	status int
}

// WriteHeader notes the first final status.
func (w *watchedWriter) WriteHeader(status int) {
	if w.status == 0 && (status >= http.StatusOK || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write is an answer of 200 if there was none before.
func (w *watchedWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *watchedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// succeeded also holds for a handler that wrote nothing, which net/http answers with 200.
func (w *watchedWriter) succeeded() bool {
	return w.status == 0 || (w.status >= http.StatusOK && w.status < http.StatusMultipleChoices)
}
