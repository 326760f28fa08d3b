package config

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestLoad_ReadsRulesForHistory(t *testing.T) {
	c, err := Parse([]byte(minimal+`
channels:
  - {match: "chat.*", history: {messages: 100, age: 24h}}
  - match: "feed.{user}"
    history: {messages: 10, age: 1ms}
  - {match: "**", presence: true, presence_frames: 0}
users: {history: {messages: 50, age: 1h}, offline_delay: 3s}
history_total: 1GiB
`), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	want := []ChannelRule{
		{"chat.*", "granted", "nobody", false, 200, History{100, 24 * time.Hour}},
		{"feed.{user}", "granted", "nobody", false, 200, History{10, time.Millisecond}},
		{"**", "granted", "nobody", true, 0, History{}},
	}
	for i, rule := range c.Channels {
		if rule != want[i] {
			t.Errorf("rule %d: got %+v, want %+v", i, rule, want[i])
		}
	}
	if len(c.Channels) != len(want) || c.Users.History != (History{50, time.Hour}) || c.Users.OfflineDelay != 3*time.Second || c.HistoryTotal != GiB {
		t.Errorf("got %+v, %+v, %v", c.Channels, c.Users, c.HistoryTotal)
	}
}

func TestLoad_SaysWhatIsWrongWithRules(t *testing.T) {
	f := func(yaml string, want ...string) {
		t.Helper()
		err := load(t, minimal+yaml)
		var got []string
		if err != nil {
			got = strings.Split(err.Error(), "\n")
		}
		if len(got) != len(want) {
			t.Errorf("%q: got\n%v\nwant %q", yaml, err, want)
			return
		}
		for i := range got {
			if got[i] != "pushcart.yaml"+want[i] {
				t.Errorf("%q: got\n%s\nwant\npushcart.yaml%s", yaml, got[i], want[i])
			}
		}
	}
	f("channels: []\n")
	f("channels:\n")
	f("channels: [{history: {messages: 1, age: 1s}}]", `:2: channels[0].match: is required: a pattern for names, like "chat.*", or "**" for all`)
	f("channels: [{match: a, history: {messages: 1}}]", ":2: channels[0].history.age: is required with messages, like 24h")
	f("channels: [{match: a, history: {age: 1h}}]", ":2: channels[0].history.messages: is required with age, like 100")
	f("channels: [{match: a, history: {messages: 1, age: 24}}]", ":2: channels[0].history.age: 24 has no unit: 24s?")
	f("channels: [{match: a, history: {messages: many, age: 1h}}]", `:2: channels[0].history.messages: want a whole number, got "many"`)
	f("channels: [{match: a, history: {messages: -1, age: 1h}}]", ":2: channels[0].history.messages: must not be negative")
	f("channels: [{match: a, history: {messages: 1, age: -1h}}]", ":2: channels[0].history.age: must not be negative")
	f("channels: [{match: a, history: {messages: 1000001, age: 1h}}]", ":2: channels[0].history.messages: must not be more than 1000000, got 1000001")
	f("channels: [{match: a, history: {messages: 1, age: 100000h}}]", ":2: channels[0].history.age: must not be more than 87600h0m0s (10 years), got 100000h0m0s")
	f("channels: [{match: a, history: {messages: 1, age: 1us}}]", ":2: channels[0].history.age: must not be less than 1ms, got 1µs")
	f("users: {history: {messages: 1}}", ":2: users.history.age: is required with messages, like 24h")
	f("users: {history: 10}", `:2: users.history: want keys and values, got "10"`)
	f("channels: {match: a}", ":2: channels: want a list, got keys and values")

	f("channels:\n  - match: a\n  - match: b***\n", `:4: channels[1].match: must not have more than two * in a row, got "b***"`)
	f("channels:\n  - match: x.{id}\n", `:3: channels[0].match: has {id}; only {user} may stand in braces, got "x.{id}"`)
	f("channels:\n  - match: user-{user}\n", `:3: channels[0].match: {user} must be a whole segment between dots, like news.{user}, got "user-{user}"`)
	f("channels:\n  - match: a\n  - match: '**'\n  - match: chat.*\n", `:5: channels[2].match: is never asked: channels[1] ("**") fits the same names and stands before it`)
	f("channels:\n  - match: a.**\n  - match: a.b\n", `:4: channels[1].match: is never asked: channels[0] ("a.**") fits the same names and stands before it`)
	f("channels:\n  - match: a\n  - match: a\n", `:4: channels[1].match: is never asked: channels[0] ("a") fits the same names and stands before it`)

	const keeps = "channels: [{match: a, history: {messages: 1, age: 1s}}]\n"
	f(keeps+"history_total: 512KiB", ":3: history_total: 512KiB is less than push.max_body (1MiB): a message that large could not be kept")
	f(keeps + "history_total: 512KiB\nredis: {addresses: ['h:1']}")
	f("history_total: 512KiB")
	f("history_total: 0", ":2: history_total: must be more than 0, got 0")

	f("channels: [{match: a, presence: true, presence_frames: 1000}, {match: b, presence_frames: 0}]")
	f("channels: [{match: a, presence: maybe}]", `:2: channels[0].presence: want true or false, got "maybe"`)
	f("channels: [{match: a, presence_frames: 1001}]", ":2: channels[0].presence_frames: must not be more than 1000, got 1001")
	f("channels: [{match: a, presence_frames: -1}]", ":2: channels[0].presence_frames: must not be negative")
	f("users: {offline_delay: 0s}")
	f("users: {offline_delay: -1s}", ":2: users.offline_delay: must not be negative")
	f("channels: [{mach: a}]", ":2: channels[0].mach: unknown key; did you mean match?",
		`:2: channels[0].match: is required: a pattern for names, like "chat.*", or "**" for all`)
	f("channel: []", ":2: channel: unknown key; did you mean channels?")
	f("users: {histroy: {}}", ":2: users.histroy: unknown key; did you mean history?")
}

func TestMemoryBound_IsTheSumOfWhatMayWait(t *testing.T) {
	f := func(yaml string, want Size, keys ...string) {
		t.Helper()
		c, err := Parse([]byte(minimal+yaml), noEnv)
		if err != nil {
			t.Fatal(err)
		}
		if sum, named := c.MemoryBound(); sum != want || !slices.Equal(named, keys) {
			t.Errorf("%s: got %v of %q, want %v of %q", yaml, sum, named, want, keys)
		}
	}
	f("", 640*MiB, "websocket.outbox.total", "websocket.inbound_total")
	kept := "users: {history: {messages: 50, age: 1h}}\nwebhook: {url: /hook, events: [message], unsigned: true}\n"
	f(kept, 960*MiB, "websocket.outbox.total", "websocket.inbound_total", "history_total", "webhook.outbox.bytes")
	f(kept+"redis: {addresses: ['127.0.0.1:6379']}", 704*MiB, "websocket.outbox.total", "websocket.inbound_total", "webhook.outbox.bytes")
}
