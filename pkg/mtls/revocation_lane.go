package mtls

import (
	"context"
	"crypto/sha256"
	"errors"
)

// Reading a list takes time and memory by its size: 10 MiB take more than half a second and a hundred MiB. Receivers bring
// along their own issuers, so that one of them may keep us reading on purpose, and everybody else's check has 5 s. So
// there are two lanes:
//
//	up to 256 KiB ──▶ small hands          (most lists; never behind a large one)
//	larger ──▶ one of an issuer at a time ──▶ large hands

const (
	smallCRL   = 256 << 10 // bytes
	smallHands = 2
	largeHands = 2
	// issuerTurns is how many issuers are told apart; two that fall together wait for each other.
	issuerTurns = 64
)

// errBusy says that a list has come but could not be read in time. It begins with a verb.
var errBusy = errors.New("was not read in time, because others were being read; it is tried again at the next connection")

// lanes bounds how many lists are read at a time.
type lanes struct {
	small, large chan struct{}
	turns        [issuerTurns]chan struct{}
}

func newLanes() *lanes {
	l := &lanes{small: make(chan struct{}, smallHands), large: make(chan struct{}, largeHands)}
	for i := range l.turns {
		l.turns[i] = make(chan struct{}, 1)
	}
	return l
}

// enter waits for the turn of a list of so many bytes, no longer than ctx. leave must be called unless there is an error.
func (l *lanes) enter(ctx context.Context, issuer [sha256.Size]byte, size int) (leave func(), err error) {
	way := []chan struct{}{l.small}
	if size > smallCRL {
		// The issuer's turn first: whoever waits for it keeps nobody else from a hand.
		way = []chan struct{}{l.turns[issuer[0]%issuerTurns], l.large}
	}
	for n, gate := range way {
		select {
		case gate <- struct{}{}:
		case <-ctx.Done():
			for _, passed := range way[:n] {
				<-passed
			}
			return nil, errBusy
		}
	}
	return func() {
		for _, gate := range way {
			<-gate
		}
	}, nil
}
