//go:build race

package scenario

// underRace tells that the race detector is at work.
const underRace = true
