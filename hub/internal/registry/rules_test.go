package registry

import (
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/config"
)

func TestRules_TheFirstThatFitsHolds(t *testing.T) {
	r, err := NewRules([]config.ChannelRule{
		{Match: "chat.secret"},
		{Match: "chat.*", History: config.History{Messages: 7, Age: time.Minute}},
		{Match: "feed.{user}.**", History: config.History{Messages: 8, Age: time.Hour}},
		{Match: "**.log", History: config.History{Messages: 9, Age: time.Second}},
	}, config.Users{History: config.History{Messages: 5, Age: time.Minute}}, config.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	f := func(topic string, messages int, age time.Duration) {
		t.Helper()
		if got := r.Retention(topic); got != (broker.Retention{Messages: messages, Age: age}) {
			t.Errorf("%s: got %+v, want %d, %v", topic, got, messages, age)
		}
	}
	f("channel:chat.secret", 0, 0)
	f("channel:chat.42", 7, time.Minute)
	f("channel:chat.log", 7, time.Minute)
	f("channel:chat.a.log", 9, time.Second)
	f("channel:feed.ann.x", 8, time.Hour)
	f("channel:other", 0, 0)
	f("user:chat.42", 5, time.Minute)
	f("user:42", 5, time.Minute)
	f("all", 0, 0)
	f("node:chat.42", 0, 0)
	if _, err := NewRules([]config.ChannelRule{{Match: "a"}, {Match: "b***"}}, config.Users{}, config.Limits{}); err == nil || !strings.HasPrefix(err.Error(), "channels[1].match: ") {
		t.Errorf("a bad pattern: got %v", err)
	}
}
