package scenario

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/alert"
	"github.com/handfast/handfast/pkg/delivery"
	"github.com/handfast/handfast/pkg/rotation"
	"github.com/handfast/handfast/pkg/stream"
	"github.com/handfast/handfast/tests/kit"
)

// TestRotation moves forty endpoints under traffic to the next identity, which some receivers refuse, each in its own
// way, until their operators have come round.
func TestRotation(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		refusing := map[string]kit.Refusal{"alert": kit.ByAlert, "forbid": kit.ByForbidding, "page": kit.ByPage}
		doors := map[string]*kit.Door{"yes-1": sayYes(), "yes-2": sayYes(), "yes-3": sayYes(), "late": sayYes(), "down": sayYes()}
		for name, way := range refusing {
			doors[name] = kit.NewDoor(way, oldName)
		}
		s := newStreet(t, 5, doors)
		down := s.houses["down"]
		down.Close() // before anything is sent to it: its deliveries would fail without any rotation
		s.StartSigner(s.Broker.Option())
		for range 3 {
			s.StartDispatcher(s.Broker.Option())
		}
		s.Pass(2 * time.Second)
		var reachable []string
		for name, h := range s.houses {
			if name != "down" {
				reachable = append(reachable, h.types...)
			}
		}
		traffic := s.Traffic(50*time.Millisecond, "acme", reachable...)
		s.Pass(5 * time.Second)
		s.Rotate("default", "default-2")
		s.Pass(time.Minute)

		assert.Equal(t, map[rotation.Stage]int{rotation.Accepted: 20, rotation.Refused: 15, rotation.Unreachable: 5}, s.Stages("default"))
		for name, words := range map[string]string{"alert": "refuses the certificate", "forbid": "403", "page": "400"} {
			status := s.stage(name)
			assert.Equal(t, rotation.Refused, status.Stage, name)
			assert.Contains(t, status.Reason, words)
			assert.NotEmpty(t, status.Advice)
			assert.NotZero(t, status.NextProbe)
		}
		assert.Equal(t, rotation.Unreachable, s.stage("down").Stage)
		half := time.Now()
		s.Pass(10 * time.Second)
		for name, h := range s.houses {
			switch {
			case name == "down":
			case refusing[name] != 0:
				assert.Equal(t, []string{oldName}, keys(h.NamesSince(time.Time{})), "%s stays on the current identity", name)
			default:
				assert.Equal(t, []string{newName}, keys(h.NamesSince(half)), "%s has cut over", name)
			}
		}
		for name := range refusing {
			s.houses[name].door.Accept(oldName, newName)
		}
		down.Reopen()
		fast := traffic
		fast.Stop()
		slow := s.Traffic(5*time.Second, "acme", s.types...)
		s.Pass(10 * time.Minute) // the waits of the next probes
		ended := s.completed()
		assert.Equal(t, "default-2", s.Assignment("default").Uses)
		for _, h := range s.houses {
			h.door.Accept(newName) // whoever still came under the old one would be turned away
		}
		s.Pass(10 * time.Second)
		assert.Greater(t, fast.Stop()+slow.Stop(), 1000)
		s.Pass(10 * time.Second)
		assert.Zero(t, fast.Arrived(s.receivers()...)+slow.Arrived(s.receivers()...), "nothing came twice")
		for name, h := range s.houses {
			assert.Zero(t, h.NamesSince(ended)[oldName], "%s: the old identity after completion", name)
		}
		s.noFailures()
		s.untouched()
		assert.Zero(t, s.Count(stream.DeadLetters)+s.Count(stream.Retries)+s.Count(stream.Backlog)+s.Count(stream.Deliveries))
	})
}

// TestRotationThroughRestarts kills, stops and restarts what carries a rotation, pauses it, and takes a second one back.
func TestRotationThroughRestarts(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		s := newStreet(t, 6, map[string]*kit.Door{"yes-1": sayYes(), "yes-2": sayYes(), "yes-3": sayYes()})
		s.Dispatcher.ProbeRate = 2 // exchanges a second and dispatcher; an endpoint takes two
		s.StartSigner(s.Broker.Option())
		first, second := s.StartDispatcher(s.Broker.Option()), s.StartDispatcher(s.Broker.Option())
		s.Pass(2 * time.Second)
		traffic := s.Traffic(100*time.Millisecond, "acme", s.types...)
		s.Rotate("default", "default-2")
		s.Pass(5 * time.Second)
		first.Kill()
		s.StartDispatcher(s.Broker.Option())
		s.Pass(3 * time.Second)
		s.Turn("default", rotation.Pause)
		s.Pass(time.Second) // what was being probed
		some := s.Stages("default")[rotation.Accepted]
		assert.Positive(t, some)
		assert.Less(t, some, 18, "it is under way")
		s.Stop()
		s.StopBroker()
		s.StartBroker()
		s.Start()
		third := s.StartDispatcher(s.Broker.Option())
		s.Pass(time.Minute)
		assert.Equal(t, map[rotation.Stage]int{rotation.Accepted: some}, s.Stages("default"), "nobody is probed during a pause")
		assert.Equal(t, map[string]bool{oldName: true, newName: true}, s.seenSince(time.Now().Add(-30*time.Second)), "each stays where it is")

		s.Turn("default", rotation.Resume)
		s.Pass(5 * time.Second)
		third.Stop()
		s.StartDispatcher(s.Broker.Option())
		s.Pass(90 * time.Second)
		assert.Equal(t, map[string]bool{newName: true}, s.seenSince(s.completed()))
		traffic.Stop()
		s.Pass(2 * time.Minute) // what the killed one held comes again after AckWait
		assert.LessOrEqual(t, traffic.Arrived(s.receivers()...), 3, "only what was under way at the kill")
		s.noFailures()
		s.untouched()
		second.Stop()
	})
}

// TestRollback takes a rotation back in the middle.
func TestRollback(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		s := newStreet(t, 10, map[string]*kit.Door{"yes": sayYes(), "no": kit.NewDoor(kit.ByAlert, oldName)})
		s.StartSigner(s.Broker.Option())
		for range 3 {
			s.StartDispatcher(s.Broker.Option())
		}
		s.Pass(2 * time.Second)
		traffic := s.Traffic(50*time.Millisecond, "acme", s.types...)
		s.Rotate("default", "default-2")
		s.Pass(20 * time.Second)
		assert.Equal(t, map[string]bool{oldName: true, newName: true}, s.seenSince(time.Now().Add(-5*time.Second)))
		s.Turn("default", rotation.Rollback)
		s.Pass(time.Second)
		back := time.Now()
		s.Pass(10 * time.Second)
		at := s.Assignment("default")
		require.Nil(t, at.Rotation)
		assert.Equal(t, rotation.RolledBack, at.History[0].How)
		assert.Equal(t, "default", at.Uses)
		assert.Equal(t, map[string]bool{oldName: true}, s.seenSince(back))
		s.houses["no"].door.Accept(oldName, newName)
		s.Rotate("default", "default-2") // and forward again
		s.Pass(30 * time.Second)
		assert.Equal(t, map[string]bool{newName: true}, s.seenSince(s.completed()))
		traffic.Stop()
		s.Pass(5 * time.Second)
		assert.Zero(t, traffic.Arrived(s.receivers()...))
		s.noFailures()
		s.untouched()
	})
}

// TestAFallLosesNothing has receivers that accept the probe and then refuse messages under the next identity.
func TestAFallLosesNothing(t *testing.T) {
	cases := map[string]struct {
		way   kit.Refusal
		first []string
	}{
		"a page for messages only":        {kit.ByPageToPosts, []string{oldName}},
		"403 for messages only":           {kit.ByForbiddingPosts, []string{oldName}},
		"an alert, after second thoughts": {kit.ByAlert, []string{oldName, newName}},
		"a page, after second thoughts":   {kit.ByPage, []string{oldName, newName}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			kit.Bubble(t, func(t *testing.T) {
				s := newStreet(t, 2, map[string]*kit.Door{"hooks": kit.NewDoor(c.way, c.first...)})
				s.Start()
				s.StartDispatcher(s.Broker.Option())
				s.Pass(time.Second)
				s.Rotate("default", "default-2")
				s.Pass(5 * time.Second)
				h := s.houses["hooks"]
				require.Equal(t, rotation.Accepted, s.stage("hooks").Stage, "the probe goes well")
				h.door.Accept(oldName)
				h.Drop()
				traffic := s.Traffic(100*time.Millisecond, "acme", s.types...)
				s.Pass(4 * time.Second)
				traffic.Stop()
				s.Pass(30 * time.Second)
				traffic.Arrived(h.Receiver)
				assert.Equal(t, []string{oldName}, keys(h.Names()))
				status := s.stage("hooks")
				assert.Equal(t, rotation.Refused, status.Stage)
				assert.Equal(t, 1, status.Falls)
				refused := 0
				for _, outcome := range s.Outcomes() {
					if outcome != delivery.Delivered {
						refused++
						assert.Equal(t, delivery.ClientCertificateRefused, outcome)
					}
				}
				assert.LessOrEqual(t, refused, 4, "the attempts that have shown it")
				assert.Zero(t, s.Count(stream.DeadLetters)+s.Count(stream.Retries)+s.Count(stream.Backlog))
			})
		})
	}
}

// TestAFallOfManyAtOnce has an endpoint fall while several attempts under the next identity are under way: all of them go
// again under the current one, which is good, so that nothing has to be held.
func TestAFallOfManyAtOnce(t *testing.T) {
	for name, way := range map[string]kit.Refusal{"an alert": kit.ByAlert, "a page": kit.ByPage, "403": kit.ByForbidding} {
		t.Run(name, func(t *testing.T) {
			kit.Bubble(t, func(t *testing.T) {
				door := kit.NewDoor(way, oldName, newName)
				door.Pause = 50 * time.Millisecond // so that all of them are under way
				s := newStreet(t, 1, map[string]*kit.Door{"hooks": door})
				s.Start()
				s.Pass(time.Second)
				s.Rotate("default", "default-2")
				s.Pass(5 * time.Second)
				h := s.houses["hooks"]
				require.Equal(t, rotation.Accepted, s.stage("hooks").Stage)
				h.door.Accept(oldName)
				h.Drop()
				const many = 32
				for n := range many {
					s.Publish("acme", h.types[0], fmt.Sprintf(`{"n":%d}`, n))
				}
				s.Pass(3 * time.Second)
				assert.Len(t, h.Hits(), many, "at once, without waiting for a probe of what is held")
				assert.Equal(t, []string{oldName}, keys(h.Names()))
				assert.Zero(t, s.Count(stream.DeadLetters))
				assert.NotContains(t, s.LogText(), "endpoint is no longer held")
			})
		})
	}
}

// TestARotationIsTold waits for the operational events about a rotation that is quick, one that is taken back, and one
// that does not get on.
func TestARotationIsTold(t *testing.T) {
	kit.Bubble(t, func(t *testing.T) {
		s := newStreet(t, 2, map[string]*kit.Door{"yes": sayYes()})
		s.Start()
		s.StartDispatcher(s.Broker.Option())
		s.Pass(time.Second)
		s.Rotate("default", "default-2")
		s.Pass(5 * time.Minute)
		s.completed()
		s.Import("default-3", "spiffe://handfast.test/third") // which no door lets in
		s.Rotate("default", "default-3")
		s.Pass(5 * time.Minute)
		s.Turn("default", rotation.Rollback)
		s.Pass(5 * time.Minute)
		require.Nil(t, s.Assignment("default").Rotation)
		s.Rotate("default", "default-3")
		s.Pass(5 * time.Minute)
		s.Sleep(24 * time.Hour) // nobody has accepted for a day
		s.Start()
		s.Pass(5 * time.Minute)
		count := map[alert.Type]int{}
		for _, told := range s.Alerts() {
			assert.Equal(t, "default", told.Subject)
			count[told.Type]++
		}
		assert.Equal(t, map[alert.Type]int{
			alert.RotationStarted: 3, alert.RotationCompleted: 1, alert.RotationRolledBack: 1, alert.RotationStalled: 1,
		}, count)
	})
}
