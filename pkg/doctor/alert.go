package doctor

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// errNotHTTP is an answer that is no HTTP.
var errNotHTTP = errors.New("the answer is not HTTP")

// alertWords say what an alert means (RFC 8446 section 6). What stands in the first list judges a client certificate.
var (
	certificateAlerts = map[string]string{
		"bad certificate":                 "it finds the certificate damaged or unfit; a missing clientAuth in its extended key usage is a common reason",
		"unsupported certificate":         "it does not take certificates of this type or key usage; a missing clientAuth in the extended key usage is a common reason",
		"revoked certificate":             "it holds the certificate for revoked",
		"expired certificate":             "it holds the certificate for expired or not yet valid: look at its dates and at the receiver's clock",
		"unknown certificate":             "it could not accept the certificate, for a reason that it does not name",
		"unknown certificate authority":   "it does not know the authority that issued the certificate, or lacks an intermediate to get there",
		"access denied":                   "the certificate is valid, but this client is not allowed in",
		"certificate required":            "it requires a certificate and got none that it takes",
		"bad certificate status response": "it was not satisfied with the certificate's OCSP status",
		"certificate unobtainable":        "it could not fetch the certificate",
		"bad certificate hash value":      "it found another certificate than the one announced",
		"handshake failure":               "it gave up the handshake after it had asked for a certificate; on TLS 1.2 this is how a missing or unwanted certificate is told",
		"error decrypting message":        "it could not verify the signature that proves possession of the key",
		"insufficient security level":     "it finds the certificate's key or signature too weak",
		"internal error":                  "it failed while it looked at the certificate; its log says why",
	}
	otherAlerts = map[string]string{
		"handshake failure":               "there is no cipher, curve or signature algorithm that both sides accept",
		"insufficient security level":     "it demands stronger ciphers than were offered",
		"protocol version not supported":  "it speaks none of the TLS versions that were offered",
		"unrecognized name":               "it serves no site of the name that TLS asked for (SNI)",
		"no application protocol":         "it speaks neither of the HTTP versions that were offered (ALPN)",
		"internal error":                  "it failed by itself; no certificate for the name that was asked for is a common reason",
		"access denied":                   "it does not let this client in, whatever its certificate",
		"unexpected message":              "it did not expect TLS in this order; a proxy of another protocol is a common reason",
		"error decoding message":          "it could not read a message of the handshake",
		"illegal parameter":               "it read something in the handshake that it holds for wrong",
		"record overflow":                 "a record was longer than it takes",
		"bad record MAC":                  "bytes changed on their way; something in the path is broken",
		"missing extension":               "it misses an extension of the handshake",
		"unsupported extension":           "it got an extension that it did not ask for",
		"inappropriate fallback":          "it holds the version for a downgrade",
		"user canceled":                   "somebody ended the handshake there",
		"close notify":                    "it closed the connection",
		"no renegotiation":                "it will not renegotiate",
		"encrypted client hello required": "it demands Encrypted Client Hello, which deliveries do not use",
		"unknown PSK identity":            "it wants a pre-shared key, not certificates",
	}
)

// remoteAlert is the text of an alert from the other side, or "". The type inside is unexported, so the text is all
// there is (measured on Go 1.26).
func remoteAlert(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" && op.Err != nil {
		return strings.TrimPrefix(op.Err.Error(), "tls: ")
	}
	// HTTP/2 keeps only the text.
	if err != nil {
		if _, text, found := strings.Cut(err.Error(), "remote error: tls: "); found {
			return text
		}
	}
	return ""
}

func words(alerts map[string]string, alert string) string {
	if said, ok := alerts[alert]; ok {
		return said
	}
	return "its TLS log says why"
}

// isCut reports an end of the connection that carries no word.
func isCut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, io.ErrClosedPipe) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, syscall.ECONNABORTED)
}

func cutWord(err error) string {
	switch {
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.ECONNABORTED):
		return "reset the connection"
	case errors.Is(err, syscall.EPIPE):
		return "closed the connection while the request was being written"
	}
	return "closed the connection"
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// statusWords is a status with its name, also nginx's own.
func statusWords(status int) string {
	switch status {
	case 495:
		return "495 (nginx: SSL certificate error)"
	case 496:
		return "496 (nginx: SSL certificate required)"
	}
	if text := http.StatusText(status); text != "" {
		return strings.TrimSpace(strconv.Itoa(status) + " " + text)
	}
	return strconv.Itoa(status)
}

func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

func isUnroutable(err error) bool {
	return errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EADDRNOTAVAIL)
}
