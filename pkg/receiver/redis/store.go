package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/handfast/handfast/pkg/receiver"
)

// DefaultPrefix starts every key if no other prefix is given.
const DefaultPrefix = "handfast:receiver:"

// swap is atomic, because Redis runs one script at a time. A miss of GET is false in Lua.
const swap = `
local found = redis.call('GET', KEYS[1])
if ARGV[1] == 'absent' then
  if found then return 0 end
elseif found ~= ARGV[2] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 1
`

// Commander is the part of a client of go-redis that is used: a Client, ClusterClient or Ring.
type Commander interface {
	redis.Scripter
	// Get is the command GET.
	Get(ctx context.Context, key string) *redis.StringCmd
}

// Store is a [receiver.Store]. Make it with [New].
type Store struct {
	client Commander
	prefix string
	script *redis.Script
}

// New returns a store whose keys start with the prefix, or with [DefaultPrefix] if it is empty. The user of Redis needs
// GET, SET, EVAL and EVALSHA on these keys. Closing the client is up to the caller.
func New(client Commander, prefix string) (*Store, error) {
	if client == nil {
		return nil, errors.New("redis store: the client is missing")
	}
	if prefix == "" {
		prefix = DefaultPrefix
	}
	return &Store{client: client, prefix: prefix, script: redis.NewScript(swap)}, nil
}

// Get implements [receiver.Store].
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	value, err := s.client.Get(ctx, s.prefix+key).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("redis store: read: %w", err)
	}
	return value, nil
}

// Swap implements [receiver.Store]. The value stays for keep.Useful.
func (s *Store) Swap(ctx context.Context, key string, old, value []byte, keep receiver.Keep) (bool, error) {
	state := "present"
	if old == nil {
		state = "absent"
	}
	life := max(keep.Useful, keep.Needed, time.Millisecond)
	done, err := s.script.Run(ctx, s.client, []string{s.prefix + key}, state, old, value, life.Milliseconds()).Bool()
	if err != nil {
		return false, fmt.Errorf("redis store: write: %w", err)
	}
	return done, nil
}
