package doctor

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/http2"
)

// request is what is asked: nothing that a receiver could take for an event.
type request struct{ path, host, origin string }

// answer is the receiver's answer, the beginning of its body included.
type answer struct {
	status int
	header http.Header
	body   []byte
	at     time.Time // our clock when it came
}

const (
	agent     = "Handfast-Doctor"
	maxHeader = 64 << 10 // bytes
	maxPage   = 4 << 10  // bytes of a body that may say why a certificate was refused
)

// ask sends an OPTIONS request and reads its answer. What the receiver said last goes before what became of our writing.
func ask(ctx context.Context, conn *tls.Conn, r request, now func() time.Time) (answer, error) {
	ear := &ear{Conn: conn}
	send := ask1
	if conn.ConnectionState().NegotiatedProtocol == "h2" {
		send = ask2
	}
	response, err := send(ctx, ear, r)
	if err != nil {
		if heard := ear.heard(); heard != nil && !errors.Is(heard, net.ErrClosed) {
			err = heard
		}
		return answer{}, err
	}
	at := now()
	defer response.Body.Close()                                   //nolint:errcheck // the connection is closed next
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxPage)) // the beginning of a page is worth as much as all of it
	return answer{status: response.StatusCode, header: response.Header, body: body, at: at}, nil
}

func ask1(_ context.Context, conn *ear, r request) (*http.Response, error) {
	_, lost := fmt.Fprintf(conn, "OPTIONS %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nWebHook-Request-Origin: %s\r\nAccept: */*\r\nConnection: close\r\n\r\n",
		r.path, r.host, agent, r.origin)
	response, err := readResponse(bufio.NewReader(io.LimitReader(conn, maxHeader+maxPage)))
	if err != nil && lost != nil {
		return nil, fmt.Errorf("write: %w", lost)
	}
	return response, err
}

// readResponse skips interim answers.
func readResponse(from *bufio.Reader) (*http.Response, error) {
	for range 8 {
		response, err := http.ReadResponse(from, &http.Request{Method: http.MethodOptions})
		if err != nil {
			return nil, err //nolint:wrapcheck // put into words by the caller
		}
		if response.StatusCode >= http.StatusOK || response.StatusCode == http.StatusSwitchingProtocols {
			return response, nil
		}
		_ = response.Body.Close()
	}
	return nil, fmt.Errorf("%w: only interim answers", errNotHTTP)
}

// ask2 does the same on HTTP/2, for receivers that speak nothing else.
func ask2(ctx context.Context, conn *ear, r request) (*http.Response, error) {
	client, err := new(http2.Transport).NewClientConn(conn) //nolint:staticcheck // see pkg/mtls; its successor takes no connection of ours
	if err != nil {
		return nil, err //nolint:wrapcheck // put into words by the caller
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodOptions, "https://"+r.host+r.path, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	q.Header.Set("User-Agent", agent)
	q.Header.Set("WebHook-Request-Origin", r.origin)
	return client.RoundTrip(q) //nolint:wrapcheck // put into words by the caller
}
