package roster

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// sizeBeats is in how many beats it is counted once what waits.
const sizeBeats = 5

// size counts what waits in Redis, over all partitions.
type size struct {
	keeper        *keeper
	waiting, dead atomic.Int64

	// Of the loop only.
	next    time.Time
	cmds    []*redis.IntCmd       // of the dead letters, and of each partition
	counted [1 + Partitions]int64 // what they were answered last
}

// OutboxSize implements broker.Outbox.
func (r *Roster) OutboxSize() (waiting, dead int) {
	s := &r.keeper.size
	return int(s.waiting.Load()), int(s.dead.Load())
}

func (s *size) due(all []errand) []errand {
	now := time.Now()
	if !s.keeper.counted.Load() || now.Before(s.next) {
		return all
	}
	s.next = now.Add(sizeBeats * s.keeper.pace.beat)
	return append(all, s)
}

func (*size) partition() int { return everywhere }

func (s *size) send(ctx context.Context, pipe redis.Pipeliner) {
	r := s.keeper.roster
	s.cmds = append(s.cmds[:0], pipe.ZCard(ctx, r.lettersKeys()[1]))
	for p := range Partitions {
		s.cmds = append(s.cmds, pipe.XLen(ctx, r.outboxKey(p)))
	}
}

// learn takes the answers. Of a server that is away the last ones stand.
func (s *size) learn(err error) {
	if err != nil {
		return
	}
	waiting := int64(0)
	for i, c := range s.cmds {
		if n, err := c.Result(); err == nil {
			s.counted[i] = n
		}
		if i > 0 {
			waiting += s.counted[i]
		}
	}
	s.waiting.Store(waiting)
	s.dead.Store(s.counted[0])
}
