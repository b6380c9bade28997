package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/handfast/handfast/pkg/event"
)

const (
	// bodySize is what both sides send, in bytes: the whole structured event.
	bodySize = 1024
	// endpoints is how many there are, five to a receiver.
	endpoints = 50

	tenant       = "bench"
	numberField  = `"number":"`
	numberDigits = 10
	// idDigits makes every id of an event equally long, and so every body.
	idDigits = numberDigits
)

// eventType is the type of event number n; one endpoint wants it.
func eventType(n int) string { return "com.bench.kind." + strconv.Itoa(10+n%endpoints) }

// load makes events. Its bodies are exactly bodySize once the signer has built them.
type load struct{ padding, tenant string }

func newLoad() (load, error) {
	bare, err := load{tenant: tenant}.body(0)
	if err != nil {
		return load{}, err
	}
	if len(bare) > bodySize {
		return load{}, fmt.Errorf("an empty event takes %d bytes, more than %d", len(bare), bodySize)
	}
	l := load{padding: strings.Repeat("x", bodySize-len(bare)), tenant: tenant}
	full, err := l.body(0)
	if err == nil && len(full) != bodySize {
		err = fmt.Errorf("the body is %d bytes instead of %d", len(full), bodySize)
	}
	return l, err
}

// message is event number n as a producer with plain nats.go publishes it.
func (l load) message(n int) *nats.Msg {
	id := fmt.Sprintf("%0*d", idDigits, n)
	const source = "/bench"
	return &nats.Msg{
		Subject: "events." + l.tenant + "." + eventType(n),
		Header: nats.Header{
			"ce-specversion": {"1.0"}, "ce-type": {eventType(n)}, "ce-source": {source}, "ce-id": {id},
			"ce-datacontenttype": {"application/json"}, nats.MsgIdHdr: {event.MessageID(l.tenant, source, id)},
		},
		Data: fmt.Appendf(nil, `{%s%0*d","padding":"%s"}`, numberField, numberDigits, n, l.padding),
	}
}

// body is what the receiver of event number n gets.
func (l load) body(n int) ([]byte, error) {
	msg := l.message(n)
	e, err := event.Parse(msg.Subject, msg.Header, msg.Data)
	if err != nil {
		return nil, fmt.Errorf("make an event: %w", err)
	}
	body, _, err := e.Body()
	if err != nil {
		return nil, fmt.Errorf("make a body: %w", err)
	}
	return body, nil
}

// template is a body with places for the number.
type template struct {
	text []byte
	at   int
}

func (l load) template() (template, error) {
	text, err := l.body(0)
	if err != nil {
		return template{}, err
	}
	return template{text: text, at: bytes.Index(text, []byte(numberField)) + len(numberField)}, nil
}

// fill writes the body of number n over to.
func (t template) fill(to []byte, n int) []byte {
	to = append(to[:0], t.text...)
	for i := t.at + numberDigits - 1; i >= t.at; i-- {
		to[i] = byte('0' + n%10)
		n /= 10
	}
	return to
}
