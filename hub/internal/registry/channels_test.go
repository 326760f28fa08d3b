package registry

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// conn is a connection that only has a member.
type conn struct{ member Member }

func (c *conn) Member() *Member          { return &c.member }
func (c *conn) Send([]*Message)          {}
func (c *conn) End(*Cause)               {}
func (c *conn) Info() Info               { return Info{} }
func (c *conn) SetState(json.RawMessage) {}

// The member's places and the channels' lists stay in step when connections leave
// in any order.
func TestChannels_SeatsStayInStep(t *testing.T) {
	h := NewRegistry("0000000000000", nil)
	r := rand.New(rand.NewPCG(3, 4))
	var conns []*conn
	for range 200 {
		c := &conn{member: h.NewMember()}
		h.Enter(c, "")
		for _, name := range []string{"a", "b", "c"} {
			h.Channels.Add(name, c, 3)
		}
		conns = append(conns, c)
	}
	vacant := func(string) {}
	var wg sync.WaitGroup
	for part := range 4 {
		mine := slices.Clone(conns[part*50 : part*50+50])
		r.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
		wg.Go(func() {
			for i, c := range mine[:40] {
				if i%2 == 0 {
					h.Channels.Remove("b", c, vacant)
				} else {
					h.Table.Remove(c.member.id)
					h.Channels.RemoveAll(c, vacant)
				}
			}
		})
	}
	wg.Wait()
	for _, name := range []string{"a", "b", "c"} {
		s := h.Channels.shard(name)
		for i, c := range s.m[name].conns {
			m := c.Member()
			at := m.place(name)
			if at < 0 || (*m.places)[at].index != i {
				t.Errorf("%s[%d]: place %d", name, i, at)
			}
		}
	}
	if a, b := len(h.Channels.AppendTo(nil, "a")), len(h.Channels.AppendTo(nil, "b")); a != 120 || b != 40 {
		t.Errorf("left: %d in a, %d in b; want 120, 40", a, b)
	}
}
