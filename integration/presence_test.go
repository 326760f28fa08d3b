package integration

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

const withPresence = `
channels:
- {match: "room.*", subscribe: anyone, presence: true, presence_frames: 3}
- {match: "kept.*", subscribe: anyone, publish: anyone, presence: true, history: {messages: 1000, age: 5m}}
- {match: "**", subscribe: anyone}
users: {offline_delay: 2s}`

// presenceNodes are one node in memory, or two that share a Redis.
func presenceNodes(t *testing.T, test func(t *testing.T, app *backend, here, there *sidecartest.Sidecar)) {
	t.Run("memory", func(t *testing.T) {
		app := newBackend(t, nil)
		s := sidecartest.Start(t, app.hooked()+withJWT+withPresence)
		test(t, app, s, s)
	})
	t.Run("redis", func(t *testing.T) {
		app, redis := newBackend(t, nil), redistest.Start(t)
		yaml := app.hooked() + withJWT + withPresence + "\nredis: {addresses: [" + redis.Addr + "]}"
		test(t, app, sidecartest.Start(t, yaml), sidecartest.Start(t, yaml))
	})
}

// facts are the events without a connection that the app was told: name, subject, body.
func (b *backend) facts() (out []string) {
	for _, kind := range []string{"user.online", "user.offline", "channel.occupied", "channel.vacated", "presence.join", "presence.leave"} {
		for _, e := range b.got(kind) {
			out = append(out, kind+" "+e.header.Get("ce-subject")+" "+e.user)
		}
	}
	return out
}

func (b *backend) wantsFacts(t *testing.T, want ...string) {
	t.Helper()
	for i := range want {
		want[i] = strings.TrimRight(want[i], " ")
	}
	slices.Sort(want)
	var got []string
	if !testkit.Until(func() bool {
		got = b.facts()
		for i := range got {
			got[i] = strings.TrimRight(got[i], " ")
		}
		slices.Sort(got)
		return slices.Equal(got, want)
	}) {
		t.Errorf("told:\ngot  %q\nwant %q", got, want)
	}
}

func TestPresence_OverNodes(t *testing.T) {
	t.Parallel() // it mostly waits
	presenceNodes(t, func(t *testing.T, app *backend, here, there *sidecartest.Sidecar) {
		ann := talk(t, here, token("ann"), "")
		ann.ask(`{"type":"subscribe","id":1,"channel":"kept.1"}`)
		bob, again := talk(t, there, token("bob"), ""), talk(t, here, token("bob"), "")
		bob.ask(`{"type":"subscribe","id":1,"channel":"kept.1"}`)
		ann.wants(`{"type":"join","channel":"kept.1","user_id":"bob"}`)
		again.ask(`{"type":"subscribe","id":1,"channel":"kept.1"}`)
		anonymous := dial(t, there, bearer(token("raw", "kept.1"))) // raw connections count, and hear nothing
		ann.wants(`{"type":"join","channel":"kept.1","user_id":"raw"}`)
		testkit.Eventually(t, "all are there", func() bool {
			_, body := there.API("GET", "/v1/channels/kept.1/presence", "")
			return strings.Contains(body, `"total":3`) && strings.Contains(body, `"user_id":"bob","connections":2`)
		})
		_ = bob.conn.Close()
		_ = anonymous.Close()
		ann.wants(`{"type":"leave","channel":"kept.1","user_id":"raw"}`)
		_ = again.conn.Close()
		ann.wants(`{"type":"leave","channel":"kept.1","user_id":"bob"}`)
		app.wantsFacts(t,
			"user.online ann ann", "user.online bob bob", "user.online raw raw", "user.offline bob bob", "user.offline raw raw",
			"channel.occupied kept.1", "presence.join kept.1 ann", "presence.join kept.1 bob", "presence.join kept.1 raw",
			"presence.leave kept.1 bob", "presence.leave kept.1 raw",
		)
		status, body := there.API("GET", "/v1/users/bob", "")
		if status != http.StatusOK || !strings.Contains(body, `"online":false`) {
			t.Errorf("bob: %d %s", status, body)
		}
	})
}

func TestPresence_WhoComesBackInTimeIsNotOffline(t *testing.T) {
	t.Parallel() // it mostly waits
	presenceNodes(t, func(t *testing.T, app *backend, here, there *sidecartest.Sidecar) {
		for i := range 4 {
			_ = talk(t, []*sidecartest.Sidecar{here, there}[i%2], token("ann"), "").conn.Close()
		}
		last := talk(t, there, token("ann"), "")
		app.wantsFacts(t, "user.online ann ann")
		_ = last.conn.Close()
		app.wantsFacts(t, "user.online ann ann", "user.offline ann ann")
	})
}

func TestPresence_PausedFrames(t *testing.T) {
	t.Parallel() // it mostly waits
	presenceNodes(t, func(t *testing.T, app *backend, here, there *sidecartest.Sidecar) {
		watch := talk(t, here, token("watch"), "")
		watch.ask(`{"type":"subscribe","id":1,"channel":"room.1"}`)
		var others []*jsonClient
		for i := range 4 {
			c := talk(t, []*sidecartest.Sidecar{here, there}[i%2], token(fmt.Sprint("u", i)), "")
			c.ask(`{"type":"subscribe","id":1,"channel":"room.1"}`)
			others = append(others, c)
			if i < 2 { // who comes on another node may be seen after who comes later on this one
				watch.wants(fmt.Sprintf(`{"type":"join","channel":"room.1","user_id":"u%d"}`, i))
			}
		}
		watch.wants(`{"type":"presence","channel":"room.1","paused":true}`)
		for _, c := range others[1:] {
			_ = c.conn.Close()
		}
		if got := watch.next(); !strings.HasPrefix(got, `{"type":"presence","channel":"room.1","paused":false,"users":[{"user_id":"u0",`) || !strings.Contains(got, `"user_id":"watch"`) {
			t.Errorf("got %s", got)
		}
	})
}
