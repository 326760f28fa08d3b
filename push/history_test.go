package push

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/broker/brokertest"
	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/hub/hubtest"
	"github.com/pushcart/pushcart/metrics"
)

// keeping makes h keep users, and the channels that begin with k.
func keeping(t testing.TB, h *hub.Hub) {
	t.Helper()
	keeps := config.History{Messages: 2000, Age: time.Hour}
	rules, err := hub.NewRules([]config.ChannelRule{{Match: "k*", History: keeps}}, config.Users{History: keeps}, config.Limits{ChannelsPerConnection: 3})
	if err != nil {
		t.Fatal(err)
	}
	h.Apply(rules)
}

// servePair is the APIs of two nodes that keep history.
func servePair(t testing.TB) (a, b *served, net *brokertest.Network) {
	t.Helper()
	h1, h2, net := hubtest.Pair(t)
	keeping(t, h1)
	keeping(t, h2)
	return serve(t, h1), serve(t, h2), net
}

// timeless replaces what differs from run to run.
func timeless(body string) string {
	body = regexp.MustCompile(`"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"`).ReplaceAllString(body, `"time":"T"`)
	return regexp.MustCompile(`"id":"[0-9a-f]{8}-[-0-9a-f]{27}"`).ReplaceAllString(body, `"id":"ID"`)
}

func (s *served) wantBody(want, method, path, body string, headers ...string) {
	s.t.Helper()
	r := s.want(200, method, path, body, headers...)
	if got := timeless(r.body); got != want {
		s.t.Errorf("%s %s %s: got\n%s\nwant\n%s", method, path, body, got, want)
	}
	if got := r.header.Get("Content-Type"); got != "application/json" {
		s.t.Errorf("%s: Content-Type %q", path, got)
	}
	if !json.Valid([]byte(r.body)) {
		s.t.Errorf("%s %s: not JSON: %s", method, path, r.body)
	}
}

func TestAPI_PushToStreamsHasPositions(t *testing.T) {
	a, b, _ := servePair(t)
	a.wantBody(`{"id":"k1","nodes":0,"positions":{"channel:kn":{"offset":1,"epoch":"e1"}},"duplicate":false}`,
		"POST", "/v1/push", `{"to":{"channels":["kn"]},"text":"1","id":"k1"}`)
	b.wantBody(`{"id":"k2","nodes":2,"delivered":0,"slow":0,"positions":{"user:\"42\"":{"offset":1,"epoch":"e2"},"channel:kn":{"offset":2,"epoch":"e1"}},"duplicate":false}`,
		"POST", "/v1/push", `{"to":{"channels":["other","kn"],"users":["\"42\""],"all":true},"text":"2","id":"k2","wait":"1ms"}`)
	b.wantBody(`{"id":"k1","nodes":0,"positions":{"channel:kn":{"offset":1,"epoch":"e1"}},"duplicate":true}`,
		"POST", "/v1/push", `{"to":{"channels":["kn"]},"text":"1","id":"k1"}`)
	a.wantBody(`{"results":[{"id":"ID","nodes":0,"positions":{"channel:kn":{"offset":3,"epoch":"e1"}},"duplicate":false},`+
		`{"error":{"code":"conflict","message":"id: was used with different content in the last 5 minutes","field":"id","id":"k1"}},`+
		`{"id":"ID","nodes":0,"duplicate":false}]}`,
		"POST", "/v1/push", `{"pushes":[{"to":{"channels":["kn"]},"text":"3"},{"to":{"channels":["kn"]},"text":"other","id":"k1"},{"to":{"channels":["o"]},"text":"3"}]}`)
	a.wantBody(`{"id":"ID","nodes":0,"positions":{"channel:kn":{"offset":4,"epoch":"e1"}},"duplicate":false}`, "POST", "/v1/channels/kn/push", "4")
}

func TestAPI_History(t *testing.T) {
	a, b, net := servePair(t)
	const kn = "/v1/channels/kn/history"
	a.wantBody(`{"messages":[],"position":{"offset":0,"epoch":""}}`, "GET", kn, "")
	push := func(body string) { a.want(200, "POST", "/v1/push", body) }
	push(`{"to":{"channels":["kn"]},"data":{ "b" :1.50,"a":"<\u00e9>"},"event":"e.f","id":"1"}`)
	push(`{"to":{"channels":["kn"],"users":["42"]},"text":"a\"<\n\u2028é","id":"2","except":{"users":["x","ü<"],"connections":["c"]}}`)
	push(`{"to":{"channels":["kn"]},"data_base64":"AP8=","id":"3"}`)
	a.want(200, "POST", "/v1/channels/kn/push?id=4", ` [1, 2] `, "Content-Type: application/json")
	one := `{"id":"1","event":"e.f","data":{ "b" :1.50,"a":"<\u00e9>"},"offset":1,"epoch":"e1","time":"T"}`
	two := `{"id":"2","data":"a\"<\n\u2028é","offset":2,"epoch":"e1","time":"T","except":{"users":["x","ü<"]}}`
	three := `{"id":"3","data_base64":"AP8=","offset":3,"epoch":"e1","time":"T"}`
	four := `{"id":"4","data": [1, 2] ,"offset":4,"epoch":"e1","time":"T"}`
	const end = `"position":{"offset":4,"epoch":"e1"}`
	page := func(rest string, messages ...string) string {
		return `{"messages":[` + strings.Join(messages, ",") + `],` + end + rest + `}`
	}
	for _, s := range []*served{a, b} {
		s.wantBody(page("", one, two, three, four), "GET", kn, "")
		s.wantBody(page(`,"more":true`, one, two), "GET", kn+"?limit=2", "")
		s.wantBody(page(`,"recovered":true,"more":true`, three), "GET", kn+"?after=2&epoch=e1&limit=1", "")
		s.wantBody(page(`,"recovered":true`, four), "GET", kn+"?after=3", "")
		s.wantBody(page(`,"recovered":true`, four), "GET", kn+"?after=3&epoch=", "")
		s.wantBody(page(`,"recovered":true`), "GET", kn+"?after=4", "")
		s.wantBody(page(`,"recovered":true`, one, two, three, four), "GET", kn+"?after=0", "")
		s.wantBody(page(`,"recovered":false`, one, two, three, four), "GET", kn+"?after=5", "")
		s.wantBody(page(`,"recovered":false`, one, two, three, four), "GET", kn+"?after=18446744073709551615", "")
		s.wantBody(page(`,"recovered":false`, one, two, three, four), "GET", kn+"?after=1&epoch=another", "")
	}
	b.wantBody(`{"messages":[{"id":"2","data":"a\"<\n\u2028é","offset":1,"epoch":"e2","time":"T"}],"position":{"offset":1,"epoch":"e2"}}`, "GET", "/v1/users/42/history", "")
	if r := b.want(204, "DELETE", kn, ""); r.body != "" {
		t.Errorf("DELETE: %s", r.body)
	}
	a.wantBody(page(""), "GET", kn, "")
	a.wantBody(page(`,"recovered":true`), "GET", kn+"?after=4&epoch=e1", "")
	a.wantBody(page(`,"recovered":false`), "GET", kn+"?after=3&epoch=e1", "")
	a.want(204, "DELETE", "/v1/users/42/history", "")
	a.want(204, "DELETE", "/v1/users/nobody/history", "")
	net.Set(func() { net.Down = true })
	a.wantError(503, "unavailable", "", "GET", kn, "")
	a.wantError(503, "unavailable", "", "DELETE", kn, "")
}

func TestAPI_HistoryRefuses(t *testing.T) {
	a, _, _ := servePair(t)
	bad := func(query, field string) {
		t.Helper()
		a.wantError(400, "invalid_argument", field, "GET", "/v1/channels/kn/history?"+query, "")
		a.wantError(400, "invalid_argument", field, "GET", "/v1/users/42/history?"+query, "")
	}
	for _, after := range []string{"18446744073709551616", "-1", "", "x", "1.5", "%2B1", "0x1", "1_0"} {
		bad("after="+after, "after")
	}
	for _, limit := range []string{"0", "1001", "-1", "", "x", "1.5"} {
		bad("limit="+limit, "limit")
	}
	bad("epoch=e1", "epoch")
	bad("after=1&after=2", "after")
	bad("from=1", "from")
	bad("after=%zz", "")
	a.wantError(400, "invalid_argument", "after", "DELETE", "/v1/channels/kn/history?after=1", "")
	a.wantError(400, "invalid_argument", "channel", "GET", "/v1/channels/k*/history", "")
	for _, method := range []string{"GET", "DELETE"} {
		r := a.wantError(404, "not_found", "", method, "/v1/channels/other/history", "")
		if !strings.Contains(r.body, "channels[].history") {
			t.Errorf("it does not name the key: %s", r.body)
		}
		h := hubtest.Alone(t)
		r = serve(t, h).wantError(404, "not_found", "", method, "/v1/users/42/history", "")
		if !strings.Contains(r.body, "users.history") {
			t.Errorf("it does not name the key: %s", r.body)
		}
	}
}

func TestAPI_StreamsExceptAThousandUsers(t *testing.T) {
	a, _, _ := servePair(t)
	names := func(n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = strconv.Itoa(i)
		}
		return strings.Join(list, ",")
	}
	push := func(to string, n int) string {
		return `{"to":` + to + `,"except":{"users":[` + names(n) + `]},"text":"x"}`
	}
	const kept, other = `{"channels":["o","kn"]}`, `{"channels":["o"]}`
	a.want(200, "POST", "/v1/push", push(kept, 1000))
	a.want(200, "POST", "/v1/push", push(other, 1001))
	r := a.wantError(400, "invalid_argument", "except.users", "POST", "/v1/push", push(kept, 1001))
	if !strings.Contains(r.body, `"message":"except.users: must not be more than 1000`) {
		t.Errorf("got %s", r.body)
	}
	r = a.wantError(400, "invalid_argument", "pushes[1].except.users", "POST", "/v1/push", `{"pushes":[`+push(kept, 2)+`,`+push(kept, 1001)+`]}`)
	if !strings.Contains(r.body, `"message":"pushes[1].except.users: must not be more than 1000`) {
		t.Errorf("got %s", r.body)
	}
	r = a.want(200, "GET", "/v1/channels/kn/history", "")
	if got := strings.Count(r.body, `"id":`); got != 1 {
		t.Errorf("%d messages, want the one of the push that was good", got)
	}
}

// A reader that goes on from the last message of each page gets every message once.
func TestAPI_HistoryIsReadInPages(t *testing.T) {
	a, b, _ := servePair(t)
	large := strings.Repeat("x", 200_000)
	const messages = 40
	for i := range messages {
		a.want(200, "POST", "/v1/channels/kn/push", fmt.Sprint(i, " ", large))
	}
	var got []string
	path, pages := "/v1/channels/kn/history", 0
	for {
		var page struct {
			Messages []struct {
				Data   string
				Offset uint64
				Epoch  string
			}
			More, Recovered bool
		}
		r := b.want(200, "GET", path, "")
		if err := json.Unmarshal([]byte(r.body), &page); err != nil {
			t.Fatal(err)
		}
		if len(r.body) > 2<<20 {
			t.Errorf("a page of %d bytes", len(r.body))
		}
		if pages++; pages > 1 && !page.Recovered {
			t.Error("a gap between two pages")
		}
		for _, m := range page.Messages {
			number, _, _ := strings.Cut(m.Data, " ")
			got = append(got, number)
			path = fmt.Sprintf("/v1/channels/kn/history?after=%d&epoch=%s", m.Offset, m.Epoch)
		}
		if !page.More {
			break
		}
	}
	if len(got) != messages || pages < 5 {
		t.Errorf("%d messages on %d pages", len(got), pages)
	}
	for i := range got {
		if got[i] != strconv.Itoa(i) {
			t.Fatalf("message %d is %s", i, got[i])
		}
	}
}

// ask calls the handler without a socket, which has no place in a bubble.
func ask(t *testing.T, a *API, method, uri, body string) string {
	t.Helper()
	var ctx fasthttp.RequestCtx
	ctx.Request.Header.SetMethod(method)
	ctx.Request.SetRequestURI(uri)
	ctx.Request.Header.SetHost("127.0.0.1")
	ctx.Request.SetBodyString(body)
	a.handle(&ctx)
	if status := ctx.Response.StatusCode(); status != 200 {
		t.Errorf("%s %s: got %d %s", method, uri, status, ctx.Response.Body())
	}
	return string(ctx.Response.Body())
}

func TestAPI_TTLAndAgeAreExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hubtest.New(t, brokertest.NewNetwork().Node(), metrics.New("", ""))
		keeping(t, h)
		a := newAPI(t, h)
		want := func(messages ...string) {
			t.Helper()
			body := ask(t, a, "GET", "/v1/channels/kn/history?after=0", "")
			if strings.Count(body, `"id"`) != len(messages) {
				t.Errorf("got %s, want %q", body, messages)
			}
			for _, m := range messages {
				if !strings.Contains(body, `"data":"`+m+`"`) {
					t.Errorf("got %s, want %q", body, messages)
				}
			}
			if recovered := strings.Contains(body, `"recovered":true`); recovered != (len(messages) > 0) {
				t.Errorf("got %s", body)
			}
		}
		ask(t, a, "POST", "/v1/push", `{"to":{"channels":["kn"]},"text":"long"}`)
		ask(t, a, "POST", "/v1/channels/kn/push?ttl=1m", "short")
		ask(t, a, "POST", "/v1/push", `{"to":{"channels":["kn"]},"text":"shorter","ttl":"1s"}`)
		want("long", "short", "shorter")
		time.Sleep(time.Second)
		want("long", "short")
		time.Sleep(59*time.Second - time.Millisecond)
		want("long", "short")
		time.Sleep(time.Millisecond)
		want("long") // without a gap
		time.Sleep(time.Hour)
		want() // with one
	})
}
