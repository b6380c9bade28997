package delivery_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/handfast/handfast/pkg/delivery"
)

// turns is the table of DESIGN.md section 6, written a second time on purpose.
func turns() map[string]delivery.Turn {
	return map[string]delivery.Turn{
		"delivered":                        delivery.TurnDone,
		"rejected":                         delivery.TurnDrop,
		"gone":                             delivery.TurnDisable,
		"throttled":                        delivery.TurnRetry,
		"unavailable":                      delivery.TurnRetry,
		"redirected":                       delivery.TurnRetry,
		"not_acknowledged":                 delivery.TurnRetry,
		"not_activated":                    delivery.TurnHold,
		"client_certificate_not_requested": delivery.TurnHold,
		"client_certificate_refused":       delivery.TurnHold,
		"server_certificate_untrusted":     delivery.TurnHold,
		"server_certificate_expired":       delivery.TurnHold,
		"server_name_mismatch":             delivery.TurnHold,
		"server_certificate_revoked":       delivery.TurnHold,
		"handshake_failed":                 delivery.TurnHold,
		"name_not_resolved":                delivery.TurnRetry,
		"connection_refused":               delivery.TurnRetry,
		"timed_out":                        delivery.TurnRetry,
		"connection_lost":                  delivery.TurnRetry,
		"address_forbidden":                delivery.TurnHold,
		"stale_signature":                  delivery.TurnSign,
		"no_identity":                      delivery.TurnHold,
		"lane_full":                        delivery.TurnSign,
	}
}

func TestEveryOutcomeHasItsTurn(t *testing.T) {
	t.Parallel()
	want, outcomes := turns(), delivery.Outcomes()
	assert.Len(t, outcomes, len(want), "the list is closed on both sides")
	seen := map[delivery.Outcome]bool{}
	for _, outcome := range outcomes {
		assert.False(t, seen[outcome], "%s stands twice", outcome)
		seen[outcome] = true
		turn, ok := want[outcome.String()]
		if assert.True(t, ok, "%s is not in the design", outcome) {
			assert.Equal(t, turn, outcome.Turn(), outcome.String())
			assert.Equal(t, turn == delivery.TurnHold, outcome.Hold(), outcome.String())
		}
	}
}

// TestEveryTurnHasItsAction joins the two tables: nothing that was judged is left without a next place.
func TestEveryTurnHasItsAction(t *testing.T) {
	t.Parallel()
	actions := map[delivery.Turn]delivery.Action{
		delivery.TurnDone: delivery.Finish, delivery.TurnRetry: delivery.Schedule, delivery.TurnHold: delivery.Schedule,
		delivery.TurnSign: delivery.Schedule, delivery.TurnDrop: delivery.Bury, delivery.TurnDisable: delivery.Disable,
	}
	for _, outcome := range delivery.Outcomes() {
		step := standard().Next(fixed(), ended(outcome), stored())
		assert.Equal(t, actions[outcome.Turn()], step.Action, outcome.String())
		buried := step.Action == delivery.Bury || step.Action == delivery.Disable
		assert.Equal(t, buried, step.Reason != "", "%s: a reason is given when, and only when, it is buried", outcome)
		assert.Equal(t, step.Action == delivery.Schedule, !step.At.IsZero(), outcome.String())
	}
}

func TestAnOutcomeOutsideTheListLosesNothing(t *testing.T) {
	t.Parallel()
	for _, outcome := range []delivery.Outcome{0, delivery.Outcome(len(delivery.Outcomes()) + 1), 255} {
		assert.Equal(t, "unknown", outcome.String())
		assert.Equal(t, delivery.TurnHold, outcome.Turn())
		assert.Equal(t, delivery.Schedule, standard().Next(fixed(), ended(outcome), stored()).Action)
		_, err := outcome.MarshalText()
		require.ErrorContains(t, err, "not in the closed list")
		_, err = json.Marshal(delivery.DeadLetter{Outcome: &outcome})
		require.Error(t, err, "it cannot be written down")
	}
	for _, origin := range []delivery.Origin{0, delivery.Ours + 1, 255} {
		assert.Equal(t, "unknown", origin.String())
		_, err := origin.MarshalText()
		require.ErrorContains(t, err, "not in the closed list")
	}
}

func TestNamesComeBack(t *testing.T) {
	t.Parallel()
	for _, outcome := range delivery.Outcomes() {
		text, err := outcome.MarshalText()
		require.NoError(t, err)
		assert.Equal(t, outcome.String(), string(text))
		var back delivery.Outcome
		require.NoError(t, back.UnmarshalText(text))
		assert.Equal(t, outcome, back)
	}
	for _, origin := range []delivery.Origin{delivery.Said, delivery.Inferred, delivery.Ours} {
		text, err := origin.MarshalText()
		require.NoError(t, err)
		var back delivery.Origin
		require.NoError(t, back.UnmarshalText(text))
		assert.Equal(t, origin, back)
	}
	for _, name := range []string{"", "unknown", "Delivered", "delivered ", "0"} {
		outcome, origin := delivery.Gone, delivery.Said
		require.ErrorContains(t, outcome.UnmarshalText([]byte(name)), "is not an outcome", name)
		require.ErrorContains(t, origin.UnmarshalText([]byte(name)), "is not an origin", name)
		assert.Equal(t, delivery.Gone, outcome, "a failure changes nothing")
		assert.Equal(t, delivery.Said, origin)
	}
}
