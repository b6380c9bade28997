package listener

import (
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestUnderwayTellsWhenNothingIsAnsweredAnyMore(t *testing.T) {
	one, two := net.Pipe()
	var u underway
	for _, connection := range []net.Conn{one, two} {
		u.note(connection, http.StateNew)
		u.note(connection, http.StateActive)
	}
	none := 0
	u.whenNone(func() { none++ })
	assert.Zero(t, none)
	u.note(one, http.StateIdle)
	assert.Zero(t, none, "the other one is still being answered")
	u.note(two, http.StateClosed)
	assert.Equal(t, 1, none)

	var silent underway
	silent.note(one, http.StateNew)
	silent.whenNone(func() { none++ })
	assert.Equal(t, 2, none, "who has said nothing is not waited for")
}
