package rotation

import (
	"encoding/binary"
	"hash/fnv"
	"time"
)

const (
	// firstWait is the pause after the first probe that did not end in an acceptance.
	firstWait = time.Minute
	// lastWait bounds the pauses: a receiver that is mended is found within the hour.
	lastWait = time.Hour
	// jitterShare is the most that jitter adds to a pause.
	jitterShare = 0.1
)

// Backoff is the pause after the n-th probe or fall in a row: one minute, then twice as long each time up to one hour,
// and up to a tenth more. The tenth is derived from the rotation and from the endpoint's place in the store, so that
// probes spread out while each one's time is known in advance.
func Backoff(n int, rotation, place string) time.Duration {
	wait := firstWait
	for i := 1; i < n && wait < lastWait; i++ {
		wait *= 2
	}
	wait = min(wait, lastWait)
	h := fnv.New64a()
	_, _ = h.Write([]byte(rotation + "/" + place))
	var count [8]byte
	binary.BigEndian.PutUint64(count[:], uint64(max(n, 0)))
	_, _ = h.Write(count[:])
	// FNV's high bits mix poorly on short input: fold once more (the finaliser of MurmurHash3).
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	share := float64(x>>11) / (1 << 53)
	return wait + time.Duration(float64(wait)*jitterShare*share)
}
