package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/handfast/handfast/pkg/endpoint"
	"github.com/handfast/handfast/pkg/stream"
)

// Apply stores documents and says what each of them changed. An unchanged document is not stored again, except to enable
// an endpoint that its receiver had switched off. A scheme that a document does not list any more goes on signing for an
// overlap, which is stored in its field signature.retiring. An error in the middle leaves those before it stored: they are
// in the result.
func (o *Operator) Apply(ctx context.Context, documents []*endpoint.Endpoint, how Application) ([]Change, error) {
	if err := o.CheckPins(ctx, documents); err != nil {
		return nil, err
	}
	kv, err := o.documents(ctx)
	if err != nil {
		return nil, err
	}
	changes := make([]Change, 0, len(documents))
	for _, e := range documents {
		change, err := o.apply(ctx, kv, e, how)
		if err != nil {
			return changes, err
		}
		changes = append(changes, change)
	}
	return changes, nil
}

func (o *Operator) apply(ctx context.Context, kv jetstream.KeyValue, e *endpoint.Endpoint, how Application) (Change, error) {
	change := Change{Endpoint: e.Key().String(), Kind: Created}
	next := succession{Endpoint: e}
	held, found, err := o.read(ctx, kv, e.Key())
	var unreadable *UnreadableError
	switch {
	case errors.As(err, &unreadable):
		change.Kind, change.Note, held.Revision = Changed, "the document that was stored could not be read", unreadable.Revision
	case err != nil:
		return Change{}, err
	case found:
		if next, change.Fields, err = how.succeed(held.Endpoint, e, time.Now()); err != nil {
			return Change{}, err
		}
		change.Kind = Changed
		if len(change.Fields) == 0 {
			change.Kind, change.Revision = Unchanged, held.Revision
		}
		if held.Disabled() {
			change.Note = "deliveries were switched off at " + held.Status.Disabled.At.UTC().Format(time.RFC3339) + " (" + held.Status.Disabled.Reason + ") and go on"
			if change.Kind == Unchanged {
				change.Kind = Enabled
			}
		}
	}
	change.Notes, change.Warnings = next.notes(held.Endpoint), Warnings(next.Endpoint, time.Now())
	if how.Dry || change.Kind == Unchanged {
		return change, nil
	}
	change.Revision, err = o.put(ctx, kv, next.Endpoint, held.Revision)
	return change, err
}

// put stores a document in place of the one at a revision, 0 for none, so that what was compared is what is replaced.
func (o *Operator) put(ctx context.Context, kv jetstream.KeyValue, e *endpoint.Endpoint, replaces uint64) (uint64, error) {
	document, err := json.Marshal(e)
	if err != nil {
		return 0, fmt.Errorf("write endpoint %s: %w", e.Key(), err)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	at := stream.EndpointKey(e.Key(), o.topology.Partitions)
	var revision uint64
	if replaces == 0 {
		revision, err = kv.Create(ctx, at, document)
	} else {
		revision, err = kv.Update(ctx, at, document, replaces)
	}
	var api *jetstream.APIError
	if errors.Is(err, jetstream.ErrKeyExists) || (errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence) {
		return 0, fmt.Errorf("endpoint %s was changed by somebody else at this moment; look at it and try again", e.Key())
	}
	if err != nil {
		return 0, fmt.Errorf("store endpoint %s: %w", e.Key(), explain(err))
	}
	return revision, nil
}

// Delete removes an endpoint. Its signing keys stay, so that applying it again does not break its receiver; deliveries
// that wait end as dead letters.
func (o *Operator) Delete(ctx context.Context, key endpoint.Key) (Change, error) {
	held, err := o.Endpoint(ctx, key)
	if err != nil {
		return Change{}, err
	}
	kv, err := o.documents(ctx)
	if err != nil {
		return Change{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	if err := kv.Delete(ctx, stream.EndpointKey(key, o.topology.Partitions), jetstream.LastRevision(held.Revision)); err != nil {
		return Change{}, fmt.Errorf("delete endpoint %s: %w", key, explain(err))
	}
	if err := kv.Delete(ctx, stream.StatusKey(key, o.topology.Partitions)); err != nil {
		return Change{}, fmt.Errorf("endpoint %s is deleted, but not its status; delete it again: %w", key, explain(err))
	}
	return Change{
		Endpoint: key.String(), Kind: Deleted,
		Note: "what still waits for it ends as dead letters; its signing keys stay and are used again when it is applied again",
	}, nil
}

// Pause makes deliveries of an endpoint wait, and Resume lets them go on. They change the stored document's field paused.
func (o *Operator) Pause(ctx context.Context, key endpoint.Key) (Change, error) {
	held, err := o.Endpoint(ctx, key)
	if err != nil {
		return Change{}, err
	}
	if held.Disabled() {
		return Change{}, fmt.Errorf("endpoint %s is disabled already, so nothing is sent to it: %s; apply its document again to enable it", key, held.Status.Disabled.Reason)
	}
	change, err := o.setPaused(ctx, held, true)
	if err == nil {
		change.Note = "deliveries wait in BACKLOG, at most 10,000, and others after that on RETRIES; `handfast endpoint resume " + key.String() + "` lets them go on"
	}
	return change, err
}

// Resume is the other half of [Operator.Pause].
func (o *Operator) Resume(ctx context.Context, key endpoint.Key) (Change, error) {
	held, err := o.Endpoint(ctx, key)
	if err != nil {
		return Change{}, err
	}
	if !held.Paused && held.Disabled() {
		return Change{}, fmt.Errorf("endpoint %s is not paused but disabled: %s; apply its document again to enable it", key, held.Status.Disabled.Reason)
	}
	change, err := o.setPaused(ctx, held, false)
	if err == nil && change.Kind == Changed {
		change.Note = fmt.Sprintf("%d deliveries that waited go on", held.Waiting)
		if held.Waiting == 1 {
			change.Note = "1 delivery that waited goes on"
		}
	}
	return change, err
}

func (o *Operator) setPaused(ctx context.Context, held Stored, paused bool) (Change, error) {
	change := Change{Endpoint: held.Key().String(), Kind: Unchanged, Revision: held.Revision}
	if held.Paused == paused {
		return change, nil
	}
	document, err := json.Marshal(held.Endpoint)
	if err != nil {
		return Change{}, fmt.Errorf("write endpoint %s: %w", held.Key(), err)
	}
	var tree map[string]json.RawMessage
	if err := json.Unmarshal(document, &tree); err != nil {
		return Change{}, fmt.Errorf("write endpoint %s: %w", held.Key(), err)
	}
	delete(tree, "paused")
	if paused {
		tree["paused"] = json.RawMessage("true")
	}
	if document, err = json.Marshal(tree); err != nil {
		return Change{}, fmt.Errorf("write endpoint %s: %w", held.Key(), err)
	}
	// A root that has expired since must not keep anybody from pausing.
	e, err := endpoint.Restore(document)
	if err != nil {
		return Change{}, fmt.Errorf("endpoint %s: %w", held.Key(), err)
	}
	kv, err := o.documents(ctx)
	if err != nil {
		return Change{}, err
	}
	change.Kind = Changed
	if change.Fields, err = compare(held.Endpoint, e); err != nil {
		return Change{}, err
	}
	change.Revision, err = o.put(ctx, kv, e, held.Revision)
	return change, err
}

// keyPoll is how often AwaitKeys looks.
const keyPoll = 50 * time.Millisecond

// AwaitKeys waits for at most a time until a signer has made keys for an endpoint, and reports whether it has. No key is
// opened.
func (o *Operator) AwaitKeys(ctx context.Context, key endpoint.Key, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	kv, err := o.js.KeyValue(ctx, stream.SigningKeyBucket)
	if err != nil {
		return false // an operator need not be allowed to look
	}
	tick := time.NewTicker(keyPoll)
	defer tick.Stop()
	for {
		if entry, err := get(ctx, kv, stream.EndpointKey(key, o.topology.Partitions)); err == nil && entry != nil {
			return true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}
