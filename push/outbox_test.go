package push

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/hub/hubtest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// shelf has events: a node's outbox, or the dead letters. err is what its broker says.
type shelf struct {
	mu       sync.Mutex // guards all below
	events   []hub.Pending
	replayed []string
	err      error
}

func (s *shelf) Waiting(after string, limit int) (page []hub.Pending, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.events {
		if p.Rank > after {
			page = append(page, p)
		}
	}
	return page[:min(limit, len(page))], len(page) > limit
}

func (s *shelf) DeadLetters(_ context.Context, cursor string, limit int) (page []hub.Pending, next string, err error) {
	page, more := s.Waiting(cursor, limit)
	if more {
		next = page[limit-1].Rank
	}
	return page, next, s.err
}

func (s *shelf) Find(id string) (hub.Pending, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.events, func(p hub.Pending) bool { return p.ID == id })
	if i < 0 {
		return hub.Pending{}, false
	}
	return s.events[i], true
}

func (s *shelf) DeadLetter(_ context.Context, id string) (hub.Pending, bool, error) {
	p, ok := s.Find(id)
	return p, ok, s.err
}

func (s *shelf) Hurry(id string) (hub.Pending, bool) {
	p, ok := s.Find(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if ok {
		s.replayed = append(s.replayed, id)
	}
	return p, ok
}

func (s *shelf) Replay(_ context.Context, id string) (bool, error) {
	_, ok := s.Hurry(id)
	return ok, s.err
}

func (s *shelf) Drop(id string) (hub.Pending, bool) {
	p, ok := s.Find(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = slices.DeleteFunc(s.events, func(o hub.Pending) bool { return o.ID == id })
	return p, ok
}

func (s *shelf) DropLetter(_ context.Context, id string) (bool, error) {
	_, ok := s.Drop(id)
	return ok, s.err
}

// eventID is a ce-id.
func eventID(n int) string { return fmt.Sprintf("%08d-0000-8000-8000-000000000000", n) }

func pendingEvent(n int) hub.Pending {
	at := time.UnixMilli(1764504000000 + int64(n)).UTC()
	return hub.Pending{
		ID: eventID(n), Rank: fmt.Sprintf("%013d-%s", at.UnixMilli(), eventID(n)), Event: "disconnected", Connection: "c1", User: "42",
		Time: at, Data: json.RawMessage(`{"code":1000}`), Tries: 2, Due: at.Add(time.Minute), Reason: "503: the backend failed",
	}
}

func deadEvent(n int) hub.Pending {
	p := pendingEvent(n)
	p.Event, p.Connection, p.Channel, p.Tries, p.Due, p.GivenUp = "presence.join", "", "chat", 0, time.Time{}, p.Time.Add(time.Hour)
	return p
}

// outboxAPI is an API of a node with these events; another node has those of other.
func outboxAPI(t testing.TB, waiting, other, dead *shelf) *served {
	t.Helper()
	a, b, _ := hubtest.Pair(t)
	a.SetOutbox(waiting)
	b.SetOutbox(other)
	api := newAPI(t, a)
	api.letters = dead
	return serveOn(t, api, testkit.Listen(t))
}

func outboxIDs(t *testing.T, body string) (ids []string, page outboxPage) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), &page); err != nil {
		t.Fatal(err, body)
	}
	for _, e := range page.Events {
		ids = append(ids, e.ID)
	}
	return ids, page
}

func TestOutbox_ListsBothStatesPageByPage(t *testing.T) {
	waiting, other, dead := &shelf{}, &shelf{}, &shelf{}
	for n := range 6 {
		waiting.events = append(waiting.events, pendingEvent(2*n))
		other.events = append(other.events, pendingEvent(2*n+1))
		dead.events = append(dead.events, deadEvent(100+n))
	}
	s := outboxAPI(t, waiting, other, dead)
	for state, first := range map[string]int{"": 0, "waiting": 0, "dead": 100} {
		var got []string
		for next := ""; ; {
			q := url.Values{"limit": {"5"}}
			if state != "" {
				q.Set("state", state)
			}
			if next != "" {
				q.Set("cursor", next)
			}
			ids, page := outboxIDs(t, s.want(200, "GET", "/v1/outbox?"+q.Encode(), "").body)
			for _, e := range page.Events {
				if e.State != map[bool]string{true: "dead", false: "waiting"}[state == "dead"] || e.Rank != "" {
					t.Errorf("%+v", e)
				}
			}
			got = append(got, ids...)
			if next = page.Next; next == "" {
				break
			}
		}
		if n := map[bool]int{true: 6, false: 12}[state == "dead"]; len(got) != n || got[0] != eventID(first) || !slices.IsSorted(got) {
			t.Errorf("%q: %d events: %q", state, len(got), got)
		}
	}
}

func TestOutbox_MistakesAreNamed(t *testing.T) {
	s := outboxAPI(t, &shelf{}, &shelf{}, &shelf{})
	for query, field := range map[string]string{"state=gone": "state", "limit=0": "limit", "cursor=x": "cursor", "status=dead": "status", "state=dead&state=dead": "state"} {
		r := s.want(400, "GET", "/v1/outbox?"+query, "")
		if _, got := r.errorCode(t); got != field {
			t.Errorf("%s: field %q", query, got)
		}
	}
	for _, call := range [][2]string{{"GET", ""}, {"DELETE", ""}, {"POST", "/replay"}} {
		r := s.want(404, call[0], "/v1/outbox/"+eventID(1)+call[1], "")
		if code, _ := r.errorCode(t); code != "not_found" {
			t.Errorf("%s: %s", call[0], r.body)
		}
	}
}

func TestOutbox_AnEventIsShownReplayedAndDroppedWhereverItIs(t *testing.T) {
	waiting, other, dead := &shelf{events: []hub.Pending{pendingEvent(1)}}, &shelf{events: []hub.Pending{pendingEvent(2)}}, &shelf{events: []hub.Pending{deadEvent(3)}}
	s := outboxAPI(t, waiting, other, dead)
	for n, state := range map[int]string{1: "waiting", 2: "waiting", 3: "dead"} {
		r := s.want(200, "GET", "/v1/outbox/"+eventID(n), "")
		if !strings.Contains(r.body, `"state":"`+state+`"`) || !strings.Contains(r.body, eventID(n)) || strings.Contains(r.body, "rank") {
			t.Errorf("%s", r.body)
		}
		if r := s.want(202, "POST", "/v1/outbox/"+eventID(n)+"/replay", ""); r.body != `{"id":"`+eventID(n)+`"}` {
			t.Error(r.body)
		}
		s.want(204, "DELETE", "/v1/outbox/"+eventID(n), "")
		s.want(404, "GET", "/v1/outbox/"+eventID(n), "")
	}
	for i, on := range []*shelf{waiting, other, dead} {
		if !slices.Equal(on.replayed, []string{eventID(i + 1)}) || len(on.events) != 0 {
			t.Errorf("%d: replayed %q, left %v", i, on.replayed, on.events)
		}
	}
}

// A dead letter that is told anew waits as well: dropped, it is gone in both places.
func TestOutbox_DropTakesTheLetterThatIsToldAnewToo(t *testing.T) {
	waiting, dead := &shelf{events: []hub.Pending{pendingEvent(1)}}, &shelf{events: []hub.Pending{deadEvent(1)}}
	s := outboxAPI(t, waiting, &shelf{}, dead)
	s.want(204, "DELETE", "/v1/outbox/"+eventID(1), "")
	if len(waiting.events)+len(dead.events) != 0 {
		t.Errorf("left %v, %v", waiting.events, dead.events)
	}
}

func TestOutbox_AnUnreadableLetterIsAConflictAndABrokerAwayUnavailable(t *testing.T) {
	dead := &shelf{events: []hub.Pending{deadEvent(1)}, err: fmt.Errorf("%w: version 9", ErrUnreadable)}
	s := outboxAPI(t, &shelf{}, &shelf{}, dead)
	s.want(409, "POST", "/v1/outbox/"+eventID(1)+"/replay", "")
	dead.mu.Lock()
	dead.err = context.DeadlineExceeded
	dead.mu.Unlock()
	s.want(503, "POST", "/v1/outbox/"+eventID(1)+"/replay", "")
	s.want(503, "GET", "/v1/outbox?state=dead", "")
	s.want(503, "GET", "/v1/outbox/"+eventID(2), "")
	s.want(503, "DELETE", "/v1/outbox/"+eventID(1), "")
}

// What the document says of the outbox.
func (d *document) outbox() {
	s := outboxAPI(d.t, &shelf{events: []hub.Pending{pendingEvent(1), pendingEvent(2)}}, &shelf{}, &shelf{events: []hub.Pending{deadEvent(3)}})
	one := "/v1/outbox/{entry}"
	d.call(s, "GET /v1/outbox", "/v1/outbox?limit=1", "", true)
	d.call(s, "GET /v1/outbox", "/v1/outbox?state=dead&cursor="+pendingEvent(1).Rank, "", true)
	d.call(s, "GET /v1/outbox", "/v1/outbox?state=gone", "", true)
	d.call(s, "GET "+one, "/v1/outbox/"+eventID(3), "", true)
	d.call(s, "GET "+one, "/v1/outbox/none", "", true)
	d.call(s, "POST "+one+"/replay", "/v1/outbox/"+eventID(1)+"/replay", "", true)
	d.call(s, "POST "+one+"/replay", "/v1/outbox/none/replay", "", true)
	d.call(s, "DELETE "+one, "/v1/outbox/"+eventID(1), "", true)
	d.call(s, "DELETE "+one, "/v1/outbox/none", "", true)
	unreadable := outboxAPI(d.t, &shelf{}, &shelf{}, &shelf{events: []hub.Pending{deadEvent(3)}, err: ErrUnreadable})
	d.call(unreadable, "POST "+one+"/replay", "/v1/outbox/"+eventID(3)+"/replay", "", true)
	d.call(unreadable, "GET /v1/outbox", "/v1/outbox?state=dead", "", true)
}
