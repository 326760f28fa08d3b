package hub

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// testBody is a push as these tests write it: like the body of POST /v1/push, of
// which they need neither all the fields nor what is said of bad ones.
type testBody struct {
	To struct {
		Users, Channels, Connections []string
		All                          bool
	}
	Except struct{ Users, Connections []string }
	Data   json.RawMessage
	Text   string
	Event  string
	ID     string
	Wait   string
	Pushes []testBody
}

func (b *testBody) push() (*Push, error) {
	p := &Push{
		To: Targets{
			Connections: b.To.Connections, All: b.To.All,
			ExceptUsers: b.Except.Users, ExceptConnections: b.Except.Connections,
		},
		Kind: Text, Data: []byte(b.Text), Event: b.Event, ID: b.ID,
	}
	for _, u := range b.To.Users {
		p.To.Users = append(p.To.Users, UserTopic+u)
	}
	for _, c := range b.To.Channels {
		p.To.Channels = append(p.To.Channels, ChannelTopic+c)
	}
	if b.Data != nil {
		p.Kind, p.Data = JSON, b.Data
	}
	var err error
	if b.Wait != "" {
		p.Wait, err = time.ParseDuration(b.Wait)
	}
	return p, err
}

// pushesOf reads one push, or those of a batch.
func pushesOf(t testing.TB, body string) []*Push {
	t.Helper()
	var b testBody
	if err := json.Unmarshal([]byte(body), &b); err != nil {
		t.Fatalf("push %s: %v", body, err)
	}
	if b.Pushes == nil {
		b.Pushes = []testBody{b}
	}
	var all []*Push
	for i := range b.Pushes {
		p, err := b.Pushes[i].push()
		if err != nil {
			t.Fatal(fmt.Errorf("push %s: %w", body, err))
		}
		all = append(all, p)
	}
	return all
}
