package event

import (
	"errors"
	"strings"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/cloudevents/sdk-go/v2/types"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// NewMessage makes the NATS message by which a tenant publishes an event in
// binary mode, with its subject, percent-encoded headers and Nats-Msg-Id. The
// message shares the event's data. What is not allowed is an [*InvalidError]:
// NewMessage refuses exactly what [Parse] would refuse.
func NewMessage(tenant string, e cloudevents.Event) (*nats.Msg, error) {
	own, bad := fromSDK(tenant, e)
	if own.mode == 0 {
		return nil, bad.err("")
	}
	header := make(nats.Header, own.len()+3) // room for the message id and the trace
	for i, value := range own.core {
		if own.present[i] {
			header["ce-"+coreName(i)] = []string{EncodeHeaderValue(value)}
		}
	}
	for _, extension := range own.extensions {
		header["ce-"+extension.name] = []string{EncodeHeaderValue(extension.value)}
	}
	return own.message(header, own.published, bad)
}

// NewStructuredMessage is [NewMessage] in structured mode: the message data is
// the whole event as JSON, written as [Event.Body] writes it. Booleans and
// integers among the extensions keep their JSON type.
func NewStructuredMessage(tenant string, e cloudevents.Event) (*nats.Msg, error) {
	own, bad := fromSDK(tenant, e)
	if own.mode == 0 {
		return nil, bad.err("")
	}
	own.form = own.formOfBinary(&bad)
	own.check("", &bad)
	if len(bad) > 0 { // what is not valid must not be written as JSON
		return own.message(nil, nil, bad)
	}
	header := make(nats.Header, 4)
	header[fieldContentType] = []string{StructuredContentType}
	return own.message(header, own.appendBody(make([]byte, 0, own.bodySize())), bad)
}

// fromSDK takes over the SDK's model. The mode of the result is zero when there
// is nothing to take over.
func fromSDK(tenant string, e cloudevents.Event) (Event, reasons) {
	var bad reasons
	if e.Context == nil {
		bad.add(fieldData, "is not there: the event is empty, begin with cloudevents.New()")
		return Event{}, bad
	}
	own := Event{mode: Binary, tenant: tenant, published: e.Data(), payload: e.Data()}
	for name, err := range e.FieldErrors { // what the SDK's setters have refused
		name = strings.TrimPrefix(name, "extension:")
		bad.add(attributeField(name), "was refused by the CloudEvents SDK: "+err.Error())
	}
	core := [attrCount]string{
		attrSpecVersion: e.SpecVersion(), attrID: e.ID(), attrSource: e.Source(), attrType: e.Type(),
		attrSubject: e.Subject(), attrContentType: e.DataContentType(), attrSchema: e.DataSchema(),
	}
	if at := e.Time(); !at.IsZero() {
		core[attrTime] = types.FormatTime(at)
	}
	for i, value := range core {
		if value != "" {
			own.set(coreName(i), value, kindText, &bad)
		}
	}
	for name, value := range e.Extensions() {
		own.setNative(name, value, &bad)
	}
	return own, bad
}

// setNative takes an extension as the SDK's model has it.
func (a *attributes) setNative(name string, value any, bad *reasons) {
	text, err := types.Format(value)
	if err != nil {
		bad.add(attributeField(name), "has a value that CloudEvents has no type for: "+err.Error())
		return
	}
	kind := kindText
	switch value.(type) {
	case bool:
		kind = kindBoolean
	case int32:
		kind = kindInteger
	}
	a.set(name, text, kind, bad)
}

// message puts a message together, and lets Parse judge it, so that nothing is
// published that a signer would refuse.
func (e *Event) message(header nats.Header, data []byte, bad reasons) (*nats.Msg, error) {
	subject, err := Subject(e.tenant, e.Type())
	bad.merge(err)
	if header != nil {
		_, err = Parse(subject, header, data)
		bad.merge(err)
	}
	if len(bad) > 0 {
		if bad.about(fieldTenant) {
			return nil, bad.err("")
		}
		return nil, bad.err(e.tenant)
	}
	header[jetstream.MsgIDHeader] = []string{MessageID(e.tenant, e.Source(), e.ID())}
	return &nats.Msg{Subject: subject, Header: header, Data: data}, nil
}

// merge adds the reasons of an InvalidError about fields that have none yet. It
// leaves out the NATS subject, which we made: its mistakes are those of the
// tenant and the type.
func (r *reasons) merge(err error) {
	var invalid *InvalidError
	if !errors.As(err, &invalid) {
		return
	}
	known := *r
	for _, reason := range invalid.Reasons {
		if reason.Field != fieldSubject && !known.about(reason.Field) {
			r.add(reason.Field, reason.Message)
		}
	}
}
