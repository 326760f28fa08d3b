package json

import (
	"testing"

	"github.com/pushcart/pushcart/hub"
)

// withoutIDs cuts node and connection out of a welcome.
func withoutIDs(welcome string) string {
	return cut(cut(welcome, `,"connection_id":"`, `"`), `,"node_id":"`, `"`)
}

func TestWelcome_SaysWhoAndWhere(t *testing.T) {
	r := newRig(t, nil)
	f := func(token, want string) {
		t.Helper()
		if _, got := r.join(token, ""); withoutIDs(got) != want {
			t.Errorf("got  %s\nwant %s", withoutIDs(got), want)
		}
	}
	f("", `{"type":"welcome","user_id":"","ping_interval":25,"channels":{}}`)
	f(tokenFor("ann"), `{"type":"welcome","user_id":"ann","ping_interval":25,"position":{"offset":0,"epoch":"e"},"channels":{}}`)
	r.say("news", `1`)
	f(tokenFor("zo\"ë", "news", "plain.x", "none.*", "none.y", "news"),
		`{"type":"welcome","user_id":"zo\"ë","ping_interval":25,"position":{"offset":0,"epoch":"e"},`+
			`"channels":{"news":{"offset":1,"epoch":"e"},"none.y":{},"plain.x":{}}}`)
}

func TestPushes_OfEveryKind(t *testing.T) {
	r := newRig(t, nil)
	a, _ := r.join(tokenFor("ann", "news", "plain.x"), "")
	b, _ := r.join(tokenFor("ann", "news"), "")
	r.push(hub.Push{To: hub.Targets{Users: []string{"user:ann"}}, Kind: hub.JSON, Data: []byte(`{ "b":1.00,"a":"\u00e9" }`), Event: "order.paid"})
	a.wants(`{"type":"message","event":"order.paid","data":{ "b":1.00,"a":"\u00e9" },"offset":1}`)
	b.wants(`{"type":"message","event":"order.paid","data":{ "b":1.00,"a":"\u00e9" },"offset":1}`)
	r.push(hub.Push{To: hub.Targets{Channels: []string{"channel:news"}}, Kind: hub.Text, Data: []byte("a\"\n<é>\u2028"), Ack: true})
	a.wants(`{"type":"message","channel":"news","data":"a\"\n<é>` + "\u2028" + `","offset":1,"ack":true}`)
	b.wants(`{"type":"message","channel":"news","data":"a\"\n<é>` + "\u2028" + `","offset":1,"ack":true}`)
	r.push(hub.Push{To: hub.Targets{All: true}, Kind: hub.Binary, Data: []byte{0, 255}})
	a.wants(`{"type":"message","data_base64":"AP8="}`)
	b.wants(`{"type":"message","data_base64":"AP8="}`)
	r.push(hub.Push{To: hub.Targets{Connections: []string{a.Member().ID()}}, Kind: hub.Text, Data: nil})
	a.wants(`{"type":"message","data":""}`)
	r.say("plain.x", `[null]`)
	a.wants(`{"type":"message","channel":"plain.x","data":[null]}`)
	a.none()
	b.none()
}
