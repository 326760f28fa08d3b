package config

import "testing"

func TestLoad_ReadsWhoMay(t *testing.T) {
	c, err := Parse([]byte(minimal+`
channels:
  - {match: "chat.*", subscribe: user, publish: webhook}
  - match: "feed.{user}"
    subscribe: anyone
  - match: "**"
users: {publish: anyone}
webhook: {url: /hook, events: [publish], unsigned: true, on_error: {publish: allow}}
websocket: {requests_in_flight: 3}
`), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	want := []ChannelRule{
		{Match: "chat.*", Subscribe: AnyUser, Publish: ByWebhook, PresenceFrames: 200},
		{Match: "feed.{user}", Subscribe: Anyone, Publish: Nobody, PresenceFrames: 200},
		{Match: "**", Subscribe: Granted, Publish: Nobody, PresenceFrames: 200},
	}
	for i, rule := range c.Channels {
		if rule != want[i] {
			t.Errorf("rule %d: got %+v, want %+v", i, rule, want[i])
		}
	}
	if c.Users.Publish != Anyone || c.Webhook.OnError != (OnError{Deny, Deny, Allow}) || c.WebSocket.RequestsInFlight != 3 {
		t.Errorf("got %+v, %+v, %+v", c.Users, c.Webhook.OnError, c.WebSocket)
	}
}

func TestLoad_SaysWhatIsWrongWithWhoMay(t *testing.T) {
	f := func(yaml string, want string) {
		t.Helper()
		err := load(t, minimal+yaml)
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != "pushcart.yaml:2: "+want) {
			t.Errorf("%q: got\n%v\nwant %q", yaml, err, want)
		}
	}
	f("channels: [{match: a, subscribe: granted, publish: nobody}]", "")
	f("channels: [{match: a, subscribe: users}]", `channels[0].subscribe: want granted or webhook or user or anyone or nobody, got "users": user?`)
	f("channels: [{match: a, publish: all}]", `channels[0].publish: want granted or webhook or user or anyone or nobody, got "all"`)
	f("channels: [{match: a, subscribe: webhook}]", "channels[0].subscribe: webhook needs webhook.url, and subscribe in webhook.events")
	f("channels: [{match: a, publish: webhook}]\nwebhook: {url: /hook, unsigned: true, events: [subscribe]}",
		"channels[0].publish: webhook needs webhook.url, and publish in webhook.events")
	f("channels: [{match: a, publish: webhook}]\nwebhook: {url: /hook, unsigned: true, events: ['*']}", "")
	f("users: {publish: webhook}", `users.publish: want nobody or user or anyone, got "webhook"`)
	f("webhook: {on_error: {subscribe: alow}}", `webhook.on_error.subscribe: want deny or allow, got "alow": allow?`)
	f("websocket: {requests_in_flight: 0}", "websocket.requests_in_flight: must be more than 0, got 0")
}
