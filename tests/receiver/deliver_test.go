package receiver

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/mtls"
)

const bodySize = 64 << 10

// sender is a pool as a dispatcher has one, with a meter on its wires.
type sender struct {
	pool    *mtls.Pool
	written atomic.Int64 // bytes on the wire, TLS included
}

func newSender(t *testing.T) *sender {
	t.Helper()
	s := &sender{}
	policy := mtls.AddressPolicy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	dialer := &net.Dialer{ControlContext: policy.Control}
	var err error
	s.pool, err = mtls.NewPool(mtls.Options{Addresses: policy, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &meteredConn{TCPConn: conn.(*net.TCPConn), written: &s.written}, nil
	}})
	require.NoError(t, err)
	t.Cleanup(s.pool.Close)
	return s
}

type meteredConn struct {
	*net.TCPConn

	written *atomic.Int64
}

// Write counts.
func (c *meteredConn) Write(p []byte) (int, error) {
	n, err := c.TCPConn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

// deliver posts one message, as services/dispatcher does it, and judges a page like it.
func (s *sender) deliver(t *testing.T, target mtls.Target, alter ...func(*mtls.Request)) (*mtls.Response, *mtls.Failure) {
	t.Helper()
	request := &mtls.Request{
		Method: http.MethodPost, Path: "/hooks/in?tenant=a", Host: receiverName,
		Header: http.Header{"webhook-id": {"msg_1"}, "content-type": {"application/json"}},
		Body:   bytes.Repeat([]byte("B"), bodySize),
	}
	for _, a := range alter {
		a(request)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	response, err := s.pool.Do(ctx, target, request)
	if err != nil {
		failure, ok := errors.AsType[*mtls.Failure](err)
		assert.True(t, ok, "every error is a failure with words: %v", err)
		return nil, failure
	}
	return response, mtls.RefusedByPage(target, response)
}
