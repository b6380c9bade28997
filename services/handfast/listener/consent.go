package listener

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

const (
	originField   = "WebHook-Request-Origin"
	clientIDField = "X-AdobeSign-ClientId"
)

// consent answers a sender that asks before it delivers, in the two ways in which endpoints can be activated; it reports
// whether the request was such a question.
func (l *Listener) consent(w http.ResponseWriter, r *http.Request, client string) bool {
	origin, id := r.Header.Get(originField), r.Header.Get(clientIDField)
	switch {
	case r.Method == http.MethodOptions:
		w.Header().Set("Allow", http.MethodPost)
		// Without an origin, a sender only wants to know what becomes of its certificate.
		if origin != "" && !l.options.Refuse {
			w.Header().Set("WebHook-Allowed-Origin", origin)
			w.Header().Set("WebHook-Allowed-Rate", l.rate())
		}
		w.WriteHeader(http.StatusNoContent)
		if origin != "" {
			l.told(fmt.Sprintf("%s asks for its consent as %s (OPTIONS)", client, strconv.Quote(origin)), ", at "+l.rate()+" requests per minute")
		}
		return true
	case r.Method == http.MethodGet && id != "":
		l.echo(w, r)
		w.Header().Set("Content-Type", "application/json")
		answer := map[string]string{}
		if !l.options.Refuse {
			answer["xAdobeSignClientId"] = id
		}
		body, err := json.Marshal(answer)
		if err != nil { // cannot happen for strings
			body = []byte("{}")
		}
		_, _ = w.Write(body) // the caller is gone if this fails
		l.told(fmt.Sprintf("%s verifies our intent as client %s (GET)", client, strconv.Quote(id)), "")
		return true
	}
	return false
}

// echo repeats a client id, as Adobe Acrobat Sign wants it in every answer.
func (l *Listener) echo(w http.ResponseWriter, r *http.Request) {
	if id := r.Header.Get(clientIDField); id != "" && !l.options.Refuse {
		w.Header().Set(clientIDField, id)
	}
}

func (l *Listener) rate() string {
	if l.options.Rate == 0 {
		return "*"
	}
	return strconv.Itoa(l.options.Rate)
}

func (l *Listener) told(question, terms string) {
	if l.options.Asked == nil {
		return
	}
	answer := "given" + terms
	if l.options.Refuse {
		answer = "not given"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.options.Asked(question + ": " + answer)
}
