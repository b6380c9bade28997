package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// pollInterval is how often a bucket is asked for news without having been told of any, so that a change is in force
	// within a second also when the word of it is lost.
	pollInterval = 500 * time.Millisecond
	// identityChecks is the number of polls between two looks whether it still is the same bucket.
	identityChecks = 10
	// retryInterval is how long a follower in trouble waits, unless the connection comes up before.
	retryInterval = time.Second
	// repeatInterval is how often the same trouble is told again while it lasts.
	repeatInterval = 30 * time.Second
	// patience is how long a replica of the bucket may be behind what was told.
	patience = 2 * time.Second
	// overslept is after how long without a look a follower believes nothing any more: the broker keeps its mark of an
	// entry whose time has ended for no longer than twice that.
	overslept = markerLife / 2
)

// Watch is what somebody wants to hear of a bucket. Calls come one at a time, and must not block. Only Take is required.
type Watch struct {
	// Begin: the bucket that was made at that time is read from its beginning, at the start and after every trouble.
	Begin func(made time.Time)
	// Take gets every entry that is new, changed or gone since it was handed on last.
	Take func(Entry)
	// Ready comes once after each Begin: everything that was written up to a revision has been handed on.
	Ready func(revision uint64)
	// Lost: nothing comes in until the next Begin.
	Lost func(err error)
}

// follower is one who follows a bucket.
//
//	Begin ─▶ read everything ─▶ Ready ─▶ news, or poll ─▶ read on ─▶ …
//	  ▲                                                       │ connection lost, another bucket, no answer
//	  └──────────────── wait, or connected ◀── Lost ◀─────────┘
//
// News comes as a message without content on changes.<bucket>.>, which the broker sends when it has stored an entry.
type follower struct {
	reader

	js    jetstream.JetStream
	poll  time.Duration
	watch Watch

	known  map[string]version
	pass   uint64 // counts the readings from the beginning
	made   time.Time
	copies int       // replicas of the bucket
	seen   uint64    // the last revision that was handed on
	whole  time.Time // when the bucket was made that was read to its end
	upTo   uint64    // the last revision of that
	other  bool      // it is not that one any more
	looked time.Time // when it was asked last, by the clock on the wall
}

// version is what an entry was when it was handed on.
type version struct {
	revision uint64
	written  int64 // nanoseconds; a broker that was restored may give a revision twice
	pass     uint64
	removed  bool
}

var (
	errConnectionLost = errors.New("the connection was lost")
	errOtherBucket    = errors.New("the bucket has been made again, or restored")
)

func (f *follower) run(ctx context.Context, logger *slog.Logger) {
	f.known = make(map[string]version)
	status := f.nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.CLOSED)
	defer f.nc.RemoveStatusListener(status)
	var told string
	var at time.Time
	for ctx.Err() == nil {
		err := f.follow(ctx, status)
		if ctx.Err() != nil {
			return
		}
		if text := err.Error(); text != told || time.Since(at) >= repeatInterval {
			told, at = text, time.Now()
			logger.WarnContext(ctx, "cannot follow a bucket; going on with what is known", slog.String("bucket", f.bucket), slog.Any("error", err))
		}
		if f.watch.Lost != nil {
			f.watch.Lost(err)
		}
		if errors.Is(err, errOtherBucket) {
			continue
		}
		select {
		case <-status:
		case <-time.After(retryInterval):
		case <-ctx.Done():
		}
	}
}

// follow reads everything and then what is new. It ends with ctx, or with an error after which all has to be read again.
func (f *follower) follow(ctx context.Context, status <-chan nats.Status) error {
	var newest atomic.Uint64
	told := make(chan struct{}, 1)
	// Before anything is read, so that nothing falls between the two.
	news, err := f.nc.Subscribe("changes."+f.bucket+".>", func(msg *nats.Msg) {
		revision, _ := strconv.ParseUint(lastValue(msg.Header, jetstream.SequenceHeader), 10, 64)
		newest.Store(revision)
		select {
		case told <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return fmt.Errorf("follow bucket %s: %w", f.bucket, err)
	}
	defer news.Unsubscribe() //nolint:errcheck // it ends with the connection in any case
	if err := f.begin(ctx); err != nil {
		return err
	}
	tick := time.NewTicker(f.poll)
	defer tick.Stop()
	for polls := 1; ; {
		select {
		case <-ctx.Done():
			return nil
		case now := <-status:
			if now != nats.CONNECTED { // that one tells of the connect before we began
				return errConnectionLost
			}
		case <-told:
			if err = f.wake(ctx); err == nil {
				err = f.catchUp(ctx, newest.Load())
			}
		case <-tick.C:
			polls++
			if err = f.wake(ctx); err == nil && polls%identityChecks == 0 {
				err = f.check(ctx)
			}
			if err == nil {
				err = f.readOn(ctx)
			}
		}
		if err != nil {
			return err
		}
	}
}

// wake reads everything anew when this process, or its machine, has stood still, which no connection tells of. The time
// on the wall counts: the other one may have stood still, too.
func (f *follower) wake(ctx context.Context) error {
	if time.Now().Round(0).Sub(f.looked) < max(overslept, 4*f.poll) {
		return nil
	}
	return f.begin(ctx)
}

// begin hands on everything that is not known, and takes back what is not there any more.
func (f *follower) begin(ctx context.Context) error {
	last, err := f.look(ctx)
	if err != nil {
		return err
	}
	f.other = !f.whole.IsZero() && (!f.made.Equal(f.whole) || last < f.upTo)
	f.seen = 0
	f.pass++
	if f.watch.Begin != nil {
		f.watch.Begin(f.made)
	}
	if err := f.catchUp(ctx, last); err != nil {
		return err
	}
	for key, v := range f.known {
		if v.pass == f.pass {
			continue
		}
		delete(f.known, key)
		if !v.removed {
			f.watch.Take(Entry{Key: key, Revision: last, Removed: true, Lost: f.other})
		}
	}
	f.whole, f.upTo, f.other = f.made, max(last, f.seen), false
	if f.watch.Ready != nil {
		f.watch.Ready(max(last, f.seen))
	}
	return nil
}

// look asks the leader of the bucket what it is, and for its last revision.
func (f *follower) look(ctx context.Context) (last uint64, err error) {
	stream, err := f.js.Stream(ctx, "KV_"+f.bucket)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, fmt.Errorf("look at bucket %s: %w", f.bucket, errNoAnswer)
	}
	if err != nil {
		return 0, fmt.Errorf("look at bucket %s: %w", f.bucket, err)
	}
	info := stream.CachedInfo()
	f.made, f.copies = info.Created, info.Config.Replicas
	return info.State.LastSeq, nil
}

// check finds out whether the bucket is the one that we have read.
func (f *follower) check(ctx context.Context) error {
	made := f.made
	last, err := f.look(ctx)
	if err == nil && (!f.made.Equal(made) || last < f.seen) {
		return errOtherBucket
	}
	return err
}

// catchUp reads on until a revision that was told. One replica may be behind another; and a revision may be gone again.
func (f *follower) catchUp(ctx context.Context, to uint64) error {
	for waited, pause := time.Duration(0), 10*time.Millisecond; ; waited, pause = waited+pause, 2*pause {
		if err := f.readOn(ctx); err != nil || f.seen >= to || f.copies < 2 || waited >= patience {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// readOn hands on what was written since.
func (f *follower) readOn(ctx context.Context) error {
	for {
		f.looked = time.Now().Round(0)
		page, err := f.read(ctx, f.seen+1, ">")
		for _, entry := range page.entries {
			f.take(entry)
		}
		if err != nil || !page.more {
			return err
		}
	}
}

func (f *follower) take(entry Entry) {
	f.seen = max(f.seen, entry.Revision)
	f.upTo = max(f.upTo, f.seen)
	now := version{revision: entry.Revision, written: entry.Created.UnixNano(), pass: f.pass, removed: entry.Removed}
	before, known := f.known[entry.Key]
	f.known[entry.Key] = now
	if before.pass = f.pass; known && before == now {
		return
	}
	if f.other && known && !before.removed && entry.Revision <= before.revision {
		f.watch.Take(Entry{Key: entry.Key, Revision: before.revision, Removed: true, Lost: true})
	}
	f.watch.Take(entry)
}
