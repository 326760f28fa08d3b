package streams

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pushcart/pushcart/broker"

	"github.com/pushcart/pushcart/broker/internal/record"
)

func FuzzParseKept(f *testing.F) {
	for _, seed := range []string{"", "plain", "\xf5", "\xf5e 1 2 3 payload", "\xf5e 1 2 0 ", "\xf5- 7 0 0 ", "\xf5e -1 x y z", "\xf5    ", "\xf5e 99999999999999999999 1 1 p"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		m, ok := parseKept("user:a", payload)
		if !ok {
			if strings.HasPrefix(payload, "\xf5") && strings.Count(payload, " ") >= 4 {
				t.Errorf("%q is refused", payload)
			}
			return
		}
		if m.Topic != "user:a" || !strings.HasSuffix(payload, " "+string(m.Payload)) || strings.Contains(m.Position.Epoch, " ") {
			t.Errorf("%q became %+v", payload, m)
		}
		again, ok := parseKept("user:a", fmt.Sprintf("\xf5%s %d %d %d %s", m.Position.Epoch, m.Position.Offset, m.Time, m.Ends, m.Payload))
		if !ok || fmt.Sprint(again) != fmt.Sprint(m) {
			t.Errorf("%+v became %+v", m, again)
		}
	})
}

func FuzzParseForks(f *testing.F) {
	for _, seed := range []string{"", "e:1", "e:1!,f:2", ",,:,!:!", "e:1:2!", "garbage", "e:-1,f:99999999999999999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		forks := parseForks(text)
		if len(forks) > strings.Count(text, ",")+1 {
			t.Errorf("%q has %d forks", text, len(forks))
		}
		r := record.Record{Position: broker.Position{Offset: 5, Epoch: "current"}, Forks: forks}
		for _, fork := range forks {
			if from, ok := r.After(fork.Position); ok && from != fork.Offset {
				t.Errorf("%q: after %+v is %d", text, fork.Position, from)
			}
			_, _ = r.Resume(fork.Position)
		}
	})
}

// A script's answer, and what is done with it by those who read and those who follow.
func FuzzParseAnswer(f *testing.F) {
	f.Add("1", 3, uint64(0), "e", uint64(2))
	f.Add("1|e|3||0|0|1-9007199254740991|a|2-1|b|3-1|c", 0, uint64(0), "e", uint64(1))
	f.Add("1|e|3|d:2!,c:1|2|1|1-1|a|3-1|c", 1, uint64(1), "d", uint64(2))
	f.Add("|||||", 0, uint64(9), "", uint64(0))
	f.Add("1|e|x|y|z|1|0-0||18446744073709551615-1|q", 8, uint64(1<<63), "e", uint64(1<<63))
	f.Fuzz(func(t *testing.T, text string, gone int, asked uint64, epoch string, at uint64) {
		var reply []any
		for i, part := range strings.Split(text, "|") {
			switch {
			case i == gone:
				reply = append(reply, nil)
			case part == "int":
				reply = append(reply, int64(i))
			default:
				reply = append(reply, part)
			}
		}
		for n := range len(reply) + 1 {
			a, err := parseAnswer("user:a", asked, reply[:n])
			if err != nil {
				continue
			}
			for _, offset := range []uint64{0, asked, at} {
				if r := a.since(offset); r.Reached < offset {
					t.Errorf("since %d reached %d", offset, r.Reached)
				}
			}
			r := a.kept()
			cut(&r, 1)
			_ = join(&r, a.kept())
			fd := &feed{topic: "user:a", state: behind, at: broker.Position{Offset: at, Epoch: epoch}, told: true, opened: make(chan struct{}), tail: tail{of: new(atomic.Int64)}}
			fd.take(broker.Message{Topic: "user:a", Position: broker.Position{Offset: at + 1, Epoch: epoch}, Payload: []byte("m")}, func(broker.Message) {})
			fd.take(broker.Message{Topic: "user:a", Payload: []byte("plain")}, func(broker.Message) {})
			fd.ask()
			fd.fetched(a, func(broker.Message) {})
			fd.compare(&a.Record, func(broker.Message) {})
		}
	})
}
