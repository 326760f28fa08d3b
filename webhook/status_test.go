package webhook

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/httpclient"
	"github.com/pushcart/pushcart/internal/ratelog"
	"github.com/pushcart/pushcart/internal/testkit"
)

// What every status means to questions and to notifications (SPEC §5, §11).
func TestStatuses_AreRetriedAnsweredAndGivenUpAsTheSpecSays(t *testing.T) {
	retried := []int{408, 429, 502, 503, 504}
	final := []int{400, 404, 405, 410, 413, 415, 422, 501}
	for status := 200; status < 600; status++ {
		isAnswer := status/100 == 2 || status/100 == 4
		synctest.Test(t, func(t *testing.T) {
			tries := map[string]int{}
			var r *rig
			r = newRig(t, func(c *config.Webhook) { c.Retry.GiveUpAfter = time.Hour }, func(j *job) verdict {
				if tries[j.event.Name]++; tries[j.event.Name] == 4 {
					return good
				}
				var resp fasthttp.Response
				resp.SetStatusCode(status)
				return r.judge(j, &resp, false)
			})
			f := func(what string, got, want int) {
				t.Helper()
				if got != want {
					t.Errorf("%d to %s: %d tries, want %d", status, what, got, want)
				}
			}
			answer := func(what string, a Answer, err error) {
				t.Helper()
				if isAnswer && (err != nil || a.Status != status) || !isAnswer && !errors.Is(err, ErrUnavailable) {
					t.Errorf("%d to %s: got %d, %v", status, what, a.Status, err)
				}
			}
			a, err := r.Connect(t.Context(), r.Settings(), event(Connect, "a", 1))
			answer(Connect, a, err)
			f(Connect, tries[Connect], 1)

			r.Ask(event(Message, "a", 2), func(a Answer, err error) { answer(Message, a, err) })
			pass(time.Minute)
			want := 1
			if slices.Contains(retried, status) {
				want = 3
			}
			f(Message, tries[Message], want)

			r.Tell(event(Connected, "a", 3))
			pass(2 * time.Hour)
			want = 4
			if status/100 == 2 || slices.Contains(final, status) {
				want = 1
			}
			f(Connected, tries[Connected], want)
		})
	}
}

// A newcomer whose app answers 404, 401 or nothing at all saw nothing in the log.
func TestLog_NamesEventStatusReasonAndSettingOncePerMinute(t *testing.T) {
	status := func(code int) verdict {
		v := verdict{result: "error", after: -1, answer: Answer{Status: code}, again: code == 429}
		if code/100 == 4 {
			v.result = "rejected"
		} else {
			v.err = ErrUnavailable
		}
		return v
	}
	f := func(v verdict, name string, want ...string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			var out testkit.Log
			r := newRig(t, func(c *config.Webhook) { c.Retry.GiveUpAfter = time.Minute }, func(*job) verdict { return v })
			r.rare = ratelog.New(slog.New(slog.NewTextHandler(&out, nil)))
			for i := range 5 {
				switch ev := event(name, string(rune('a'+i)), 1); name {
				case Connect:
					_, _ = r.Connect(t.Context(), r.Settings(), ev)
				case Message:
					r.Ask(ev, func(Answer, error) {})
				default:
					r.Tell(ev)
				}
			}
			pass(time.Second)
			got := strings.TrimSpace(out.String())
			if len(want) == 0 && got != "" || len(want) > 0 && strings.Count(got, "\n") != 0 {
				t.Errorf("%s, %+v: got\n%s", name, v, got)
			}
			for _, w := range want {
				if !strings.Contains(got, w) {
					t.Errorf("%s, %+v: no %q in\n%s", name, v, w, got)
				}
			}
			pass(2 * time.Minute)
		})
	}
	for _, name := range []string{Connect, Message, Connected} {
		event := "event=" + name
		if name != Connect {
			f(status(401), name, "WARN", event, "status=401", "setting=webhook.secrets")
			f(status(403), name, "WARN", event, "status=403", "setting=webhook.secrets")
		}
		f(status(404), name, "WARN", event, "status=404", "webhook.url", "webhook.events")
		f(status(405), name, "WARN", event, "status=405", "webhook.url", "webhook.events")
		f(status(307), name, "WARN", event, "status=307", "setting=webhook.url", "redirects are not followed")
		f(status(500), name, "WARN", event, "status=500", "setting=webhook.url")
		f(verdict{result: "timeout", after: -1, err: ErrUnavailable}, name, "WARN", event, "setting=webhook.timeout", "5s")
		f(failed(httpclient.ErrNoConnection), name, "WARN", event, "setting=webhook.url", "no connection")
		f(good, name)
	}
	f(status(422), Connected, "WARN", "status=422", "webhook.events", "webhook.host", "not sent again")
	f(status(409), Connected, "WARN", "status=409", "sent again later")
	f(verdict{result: "error", after: -1, answer: Answer{Status: 308}, err: ErrUnavailable, leads: "/hooks/push/"}, Message, "it leads to /hooks/push/")
	for _, code := range []int{400, 419, 422} { // Flask-WTF, Laravel and Rails, of a POST without CSRF token
		f(status(code), Message, "WARN", "webhook.events", "CSRF")
	}
	f(status(410), Message)                     // the app ends the connection
	for _, code := range []int{401, 403, 422} { // strangers, as a rule; logged with their handshake
		f(status(code), Connect)
	}
	f(status(429), Message, "WARN", "status=429", "setting=webhook.max_in_flight")
}

// Once a message was taken, a 4xx is what the app says to its client.
func TestLog_IsSilentAboutTheAppsOwnRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out testkit.Log
		next := good
		r := newRig(t, nil, func(*job) verdict { return next })
		r.rare = ratelog.New(slog.New(slog.NewTextHandler(&out, nil)))
		for _, v := range []verdict{good, {result: "rejected", after: -1, answer: Answer{Status: 422}}} {
			next = v
			r.Ask(event(Message, "a", 1), func(Answer, error) {})
			pass(time.Second)
		}
		if out.String() != "" {
			t.Errorf("got %s", out.String())
		}
	})
}

func TestLeads_IsThePathAlone(t *testing.T) {
	for location, want := range map[string]string{
		"/hooks/push/": "/hooks/push/", "https://sso.example/login?next=SECRET#x": "/login", "//h": "", "%zz": "",
		"/" + strings.Repeat("x", 300): "/" + strings.Repeat("x", 199),
	} {
		if got := leads([]byte(location)); got != want {
			t.Errorf("%q: got %q, want %q", location, got, want)
		}
	}
}

func TestLog_SaysWhatIsLost(t *testing.T) {
	f := func(change func(*config.Webhook), end bool, want string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			var out testkit.Log
			r := newRig(t, change, func(*job) verdict { return broken })
			r.rare = ratelog.New(slog.New(slog.NewTextHandler(&out, nil)))
			for i := range 9 {
				r.Tell(event(Disconnected, string(rune('a'+i)), 1))
				synctest.Wait()
			}
			if end {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_ = r.Close(ctx)
			}
			pass(time.Minute)
			if n := strings.Count(out.String(), "events lost"); n != 1 || !strings.Contains(out.String(), want) {
				t.Errorf("%d lines, want one with %q:\n%s", n, want, out.String())
			}
		})
	}
	f(func(c *config.Webhook) { c.Outbox.Messages = 1 }, false, "setting=webhook.outbox")
	f(func(c *config.Webhook) { c.Retry.GiveUpAfter = time.Second }, false, "setting=webhook.retry.give_up_after")
	f(nil, true, "before the process ended")
}
