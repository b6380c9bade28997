package rotation

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"

	"github.com/handfast/handfast/pkg/endpoint"
)

// Target is a live endpoint as a rotation sees it.
type Target struct {
	Key endpoint.Key
	// Revision is the store's revision of the document.
	Revision uint64
	// Mark stands for the receiver that the document leads to ([Mark]).
	Mark string
}

// Endpoints is the consumer's registry. Its answers follow each document at once, and its methods may be called from
// any goroutine and never call back into this package.
type Endpoints interface {
	// Live lists the endpoints whose documents name the identity and that are neither disabled nor deleted; a paused one
	// is live.
	Live(identity string) []Target
	// Mark is that of the endpoint's document of now, empty when there is none. It is called for each attempt during a
	// rotation: keep it, do not compute it then.
	Mark(key endpoint.Key) string
	// Partition is the endpoint's share, as it stands in [StatusKey].
	Partition(key endpoint.Key) int
}

// Mark stands for who judges our certificate when an endpoint is called: the URL, the server's name, the identity's
// name and whether the receiver must ask. As long as these stay, applying a document again costs no new proof. It is a
// hash, because a URL is often a secret.
func Mark(e *endpoint.Endpoint) string {
	h := sha256.New()
	write := func(part string) {
		_, _ = h.Write([]byte(strconv.Itoa(len(part)) + ":" + part))
	}
	write(e.Authority())
	if e.URL != nil {
		write(e.URL.EscapedPath())
		write(e.URL.RawQuery)
	}
	write(e.TLS.Identity)
	write(e.TLS.ServerName)
	write(e.TLS.Mutual.String())
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:16])
}
