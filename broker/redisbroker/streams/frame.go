package streams

import (
	"encoding/json"
	"strings"

	"github.com/pushcart/pushcart/broker"
)

// A frame is what the scripts of package roster publish on a channel's topic of its
// members: streamMark, then JSON. What is put before a kept message goes on with no brace.
const frameMark = "\xf5{"

var frameKinds = map[string]broker.Kind{
	"joined": broker.Joined, "left": broker.Left, "paused": broker.Paused, "resumed": broker.Resumed,
}

// isFrame says whether a payload is a frame.
func isFrame(payload string) bool { return strings.HasPrefix(payload, frameMark) }

// parseFrame reads a frame. ok is false for one that we did not write.
func parseFrame(topic, payload string) (m broker.Message, ok bool) {
	if !isFrame(payload) {
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
