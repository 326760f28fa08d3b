package roster

import (
	"encoding/json"
	"strings"

	"github.com/pushcart/pushcart/broker"
)

// A frame is what scripts publish on a channel's topic of its members: the mark of what
// the broker itself writes, then JSON. Nothing else that has the mark goes on with a brace.
const frameMark = "\xf5{"

var frameKinds = map[string]broker.Kind{
	"joined": broker.Joined, "left": broker.Left, "paused": broker.Paused, "resumed": broker.Resumed,
}

// IsFrame says whether a payload is a frame.
func IsFrame(payload string) bool { return strings.HasPrefix(payload, frameMark) }

// ParseFrame reads a frame. ok is false for one that we did not write.
func ParseFrame(topic, payload string) (m broker.Message, ok bool) {
	if !IsFrame(payload) {
		return broker.Message{}, false
	}
	type member struct {
		User        string          `json:"user"`
		Connections int             `json:"connections"`
		Since       int64           `json:"since"`
		Info        json.RawMessage `json:"info"`
	}
	var f struct {
		Kind    string          `json:"kind"`
		User    string          `json:"user"`
		Info    json.RawMessage `json:"info"`
		Members []member        `json:"members"`
	}
	if err := json.Unmarshal([]byte(payload[1:]), &f); err != nil {
		return broker.Message{}, false
	}
	kind, ok := frameKinds[f.Kind]
	if !ok || (kind == broker.Joined || kind == broker.Left) && f.User == "" || len(f.Members) > broker.MaxMembers {
		return broker.Message{}, false
	}
	p := &broker.Presence{User: f.User, Info: f.Info}
	for _, one := range f.Members {
		p.Members = append(p.Members, broker.Member{User: one.User, Connections: one.Connections, Since: one.Since, Info: one.Info})
	}
	return broker.Message{Topic: topic, Kind: kind, Presence: p}, true
}
