package roster

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/pushcart/pushcart/broker"
)

// modelRedis is one partition in a Redis that may forget, refuse, or not be heard.
type modelRedis struct {
	last   string
	fields map[string]string
	kept   *modelRedis     // a copy of before
	handed map[string]bool // what was moved to the outbox
}

func (r *modelRedis) copy() *modelRedis {
	c := &modelRedis{last: r.last, fields: map[string]string{}, handed: r.handed}
	for k, v := range r.fields {
		c.fields[k] = v
	}
	return c
}

func fieldOf(k key) string {
	field := string(k.letter) + k.name
	if k.letter == 'm' {
		field += memberGap + k.user
	}
	return field
}

// take does what declareSource does to the roster. foreign is a field whose key is of
// another type.
func (r *modelRedis) take(b *batch, foreign string) (left map[int]bool, stale bool) {
	if r.last == b.number {
		return nil, false
	}
	if b.before != r.last {
		return nil, true
	}
	left = map[int]bool{}
	for i, c := range b.changes {
		switch field := fieldOf(c.entry.key); {
		case field == foreign:
			left[i] = true
		case c.state.gone:
			delete(r.fields, field)
			if c.state.handed {
				r.handed[string(c.state.text)] = true
			}
		default:
			r.fields[field] = fmt.Sprint(c.state.connections)
		}
	}
	r.last = b.number
	return left, false
}

// Whatever Redis does, in the end it has what was declared, and nothing is kept of the
// rest.
func TestPart_InTheEndRedisHasWhatWasDeclared(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		p, redis := newPart(), &modelRedis{fields: map[string]string{}, handed: map[string]bool{}}
		redis.kept = redis.copy()
		want, handed, over := map[string]string{}, map[string]bool{}, map[string]bool{}
		foreign := ""
		for i := range 60 {
			name := fmt.Sprint(rng.IntN(6))
			kind := broker.ChangeKind(rng.IntN(int(broker.MemberGone) + 1))
			c := broker.Change{Kind: kind, Name: name, User: "u", Connections: 1 + rng.IntN(9), Record: fmt.Append(nil, i)}
			k, s := read(&c)
			if over[name] && k.letter == 'c' && !s.gone {
				continue // no connection has the id of another
			}
			if want[fieldOf(k)] = fmt.Sprint(s.connections); s.gone {
				delete(want, fieldOf(k))
			}
			p.declare(&c)
			if kind == broker.ConnectionEnded && rng.IntN(2) == 0 && p.handOver(name) {
				handed[string(c.Record)], over[name] = true, true
				delete(want, fieldOf(k))
			}
			if rng.IntN(3) == 0 {
				modelTurn(p, redis, rng.IntN(10), &foreign, fieldOf(k))
			}
		}
		foreign = ""
		p.check = true
		for range 200 {
			p.retry()
			modelTurn(p, redis, 0, &foreign, "")
		}
		if fmt.Sprint(redis.fields) != fmt.Sprint(want) {
			t.Fatalf("seed %d: redis has %v, want %v", seed, redis.fields, want)
		}
		for record := range handed {
			if !redis.handed[record] {
				t.Fatalf("seed %d: %s was handed over, redis has %v", seed, record, redis.handed)
			}
		}
		if len(p.entries) != len(want) || !p.done() {
			t.Fatalf("seed %d: %d entries are kept, want %d; done: %v", seed, len(p.entries), len(want), p.done())
		}
		for _, e := range p.entries {
			if !e.known || e.open != 0 || e.last || e.state.gone {
				t.Fatalf("seed %d: %s is %+v", seed, fieldOf(e.key), e)
			}
		}
	}
}

// modelTurn is one round trip, whose outcome is chosen.
func modelTurn(p *part, redis *modelRedis, outcome int, foreign *string, field string) {
	switch outcome {
	case 1: // it lost everything
		*redis = modelRedis{fields: map[string]string{}, kept: redis.kept, handed: redis.handed}
	case 2: // a copy goes on that lacks the last changes
		kept := redis.kept
		*redis = *kept.copy()
		redis.kept = kept
	case 3:
		redis.kept = redis.copy()
	case 4:
		*foreign = field
	case 5:
		*foreign = ""
	case 6:
		p.retry()
		p.renewSome(2)
	}
	if p.stale {
		var fields []string
		for f := range redis.fields {
			fields = append(fields, f)
		}
		last := redis.last
		if outcome == 9 { // it lost all meanwhile
			*redis = modelRedis{fields: map[string]string{}, kept: redis.kept, handed: redis.handed}
		}
		p.resync(fields, last)
		return
	}
	b := p.take()
	switch {
	case b == nil:
	case outcome == 7: // refused
		p.refuse()
	case outcome == 8: // lost on its way there
		p.fail()
	case outcome == 9: // lost on its way back, with what it says of keys of another type
		*foreign = ""
		redis.take(b, "")
		p.fail()
	default:
		left, stale := redis.take(b, *foreign)
		if stale {
			p.lose()
		} else {
			p.confirm(left)
		}
	}
}
