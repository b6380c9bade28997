//go:build ignore

package main

import (
	"cmp"
	"context"
	"log"
	"os"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel"

	"github.com/handfast/handfast/pkg/event"
)

func main() {
	if err := publish(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func publish(ctx context.Context) error {
	nc, err := nats.Connect(cmp.Or(os.Getenv("NATS_URL"), nats.DefaultURL))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}

	order := cloudevents.New()
	order.SetType("com.acme.order.created")
	order.SetSource("/shop")
	order.SetID("1001")
	order.SetSubject("Zürich")
	if err := order.SetData("application/json", []byte(`{"order":1001,"total":19.90}`)); err != nil {
		return err
	}
	// It waits until the event is stored. Publishing it again is safe: it is stored once.
	_, _, err = event.NewPublisher(js, otel.GetTracerProvider()).Publish(ctx, "acme", order)
	return err
}
