//go:build cgo

package token

import (
	"errors"
	"fmt"
	"time"

	"github.com/miekg/pkcs11"
)

// sessions is a bounded number of sessions with one token. One session does one
// thing at a time.
type sessions struct {
	p    *pkcs11.Ctx
	slot uint
	// free holds those that nobody uses; 0 stands for one that is not open yet.
	free   chan pkcs11.SessionHandle
	closed chan struct{}
}

func newSessions(p *pkcs11.Ctx, slot uint, n int) *sessions {
	s := &sessions{p: p, slot: slot, free: make(chan pkcs11.SessionHandle, n), closed: make(chan struct{})}
	for range n {
		s.free <- 0
	}
	return s
}

// use does one thing with a session. It waits for a free one as long as crypto11
// would; the error is the module's.
func (s *sessions) use(work func(pkcs11.SessionHandle) error) error {
	wait := time.NewTimer(sessionWait)
	defer wait.Stop()
	var session pkcs11.SessionHandle
	select {
	case session = <-s.free:
	case <-s.closed:
		return fmt.Errorf("%w: it was closed", errLost)
	case <-wait.C:
		return fmt.Errorf("%w: all its sessions were busy for %s", errBusy, sessionWait)
	}
	if session == 0 {
		opened, err := s.p.OpenSession(s.slot, pkcs11.CKF_SERIAL_SESSION)
		if err != nil {
			s.free <- 0
			return err //nolint:wrapcheck // put in words by the caller
		}
		session = opened
	}
	err := work(session)
	if _, coded := errors.AsType[pkcs11.Error](err); coded {
		// An operation may be left over in it, which would fail the next one.
		_ = s.p.CloseSession(session)
		session = 0
	}
	s.free <- session
	return err
}

// close waits for what is under way.
func (s *sessions) close() {
	close(s.closed)
	for range cap(s.free) {
		if session := <-s.free; session != 0 {
			_ = s.p.CloseSession(session) // the token may be gone
		}
	}
}
