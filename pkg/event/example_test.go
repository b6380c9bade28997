package event_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"

	"github.com/handfast/handfast/pkg/event"
)

func order() cloudevents.Event {
	e := cloudevents.New()
	e.SetID("42")
	e.SetSource("/shop")
	e.SetType("order.created")
	e.SetSubject("Euro € 😀")
	_ = e.SetData("application/json", map[string]string{"total": "19.90"})
	return e
}

func show(msg *nats.Msg) {
	fmt.Println(msg.Subject)
	for _, name := range slices.Sorted(maps.Keys(msg.Header)) {
		fmt.Printf("%s: %s\n", name, msg.Header.Get(name))
	}
	fmt.Printf("\n%s\n", msg.Data)
}

func ExampleNewMessage() {
	msg, err := event.NewMessage("acme", order())
	if err != nil {
		fmt.Println(err)
		return
	}
	show(msg)
	// Output:
	// events.acme.order.created
	// Nats-Msg-Id: 2OSjQBLRdljGQuc8gobq2116
	// ce-datacontenttype: application/json
	// ce-id: 42
	// ce-source: /shop
	// ce-specversion: 1.0
	// ce-subject: Euro%20%E2%82%AC%20%F0%9F%98%80
	// ce-type: order.created
	//
	// {"total":"19.90"}
}

func ExampleNewStructuredMessage() {
	msg, err := event.NewStructuredMessage("acme", order())
	if err != nil {
		fmt.Println(err)
		return
	}
	show(msg)
	// Output:
	// events.acme.order.created
	// Content-Type: application/cloudevents+json; charset=utf-8
	// Nats-Msg-Id: 2OSjQBLRdljGQuc8gobq2116
	//
	// {"specversion":"1.0","id":"42","source":"/shop","type":"order.created","subject":"Euro € 😀","datacontenttype":"application/json","data":{"total":"19.90"}}
}

// What a receiver gets for an event that was published in binary mode.
func ExampleEvent_Body() {
	e, err := event.Parse("events.acme.order.created", nats.Header{
		"ce-specversion": {"1.0"}, "ce-id": {"42"}, "ce-source": {"/shop"}, "ce-type": {"order.created"},
		"ce-datacontenttype": {"application/json"},
	}, []byte(`{"reference":12345678901234567890,"total":1.10}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	body, contentType, _ := e.Body()
	fmt.Printf("%s\n%s\n", contentType, body)
	// Output:
	// application/cloudevents+json; charset=utf-8
	// {"specversion":"1.0","id":"42","source":"/shop","type":"order.created","datacontenttype":"application/json","data":{"reference":12345678901234567890,"total":1.10}}
}

// Every mistake is told at once.
func ExampleParse() {
	_, err := event.Parse("events.acme.order.created", nats.Header{
		"ce-specversion": {"1.0"}, "ce-id": {"42"}, "ce-type": {"order.paid"}, "ce-time": {"yesterday"},
	}, nil)
	if invalid, ok := errors.AsType[*event.InvalidError](err); ok {
		fmt.Println("tenant:", invalid.Tenant)
		for _, reason := range invalid.Reasons {
			fmt.Println(reason.Field, reason.Message)
		}
	}
	// Output:
	// tenant: acme
	// ce-source is missing or empty; name who produced the event by a URI-reference such as /orders
	// ce-time is "yesterday", which is no RFC 3339 time such as 2026-01-31T09:00:00Z
	// ce-type is "order.paid" but the subject says "order.created"; they must be equal, because permission to publish is granted on subjects
}
