package gate_test

import (
	"testing"

	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/gate"
)

var none []string

func check(t *testing.T, what string, g *gate.Gate, r gate.Request, want apierror.Code) {
	t.Helper()
	var got apierror.Code
	if err := g.Check(r); err != nil {
		got = err.Code
	}
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestGate_HostIsAnAddressOrANameOfTheSettings(t *testing.T) {
	g := gate.New(gate.Rules{Section: "push"}, gate.NewSettings([]string{"Push.Internal"}, none))
	for _, host := range []string{"127.0.0.1", "10.0.0.1:1", "[::1]:8081", "[::1]", "::1", "localhost", "LOCALHOST:80", "push.internal:8081", "PUSH.internal"} {
		check(t, host, g, gate.Request{Host: host}, "")
	}
	for _, host := range []string{"", ":80", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "x.push.internal"} {
		check(t, host, g, gate.Request{Host: host}, apierror.Forbidden)
	}
}

func TestGate_PagesOfOtherSitesAreRefused(t *testing.T) {
	programs := gate.New(gate.Rules{Section: "push", NoPages: "for programs"}, gate.NewSettings(none, none))
	pages := gate.New(gate.Rules{Section: "admin"}, gate.NewSettings(none, none))
	for _, g := range []*gate.Gate{programs, pages} {
		for site, want := range map[string]apierror.Code{
			"": "", "none": "", "same-origin": "", "same-site": apierror.Forbidden, "cross-site": apierror.Forbidden, "new": apierror.Forbidden,
		} {
			check(t, site, g, gate.Request{Host: "127.0.0.1", FetchSite: []byte(site)}, want)
		}
	}
	check(t, "a page that calls push", programs, gate.Request{Host: "127.0.0.1", Origin: true}, apierror.Forbidden)
	check(t, "a page of the listener", pages, gate.Request{Host: "127.0.0.1", Origin: true}, "")
}

func TestGate_TokensAreThoseApplied(t *testing.T) {
	f := func(what string, g *gate.Gate, authorization string, want apierror.Code) {
		t.Helper()
		check(t, what+" "+authorization, g, gate.Request{Host: "127.0.0.1", Authorization: []byte(authorization)}, want)
	}
	g := gate.New(gate.Rules{Section: "push"}, gate.NewSettings(none, none))
	closed := gate.New(gate.Rules{Section: "admin", NeedsTokens: true}, gate.NewSettings(none, none))
	f("no tokens", g, "", "")
	f("no tokens beyond loopback", closed, "", apierror.Forbidden)
	f("no tokens beyond loopback", closed, "Bearer first", apierror.Forbidden)
	for _, g := range []*gate.Gate{g, closed} {
		g.Apply(gate.NewSettings(none, []string{"first", "second"}))
		f("two", g, "Bearer first", "")
		f("two", g, "bearer second", "")
		for _, bad := range []string{"", "Bearer", "Bearer ", "Bearer firs", "Bearer first2", "Basic first", "first"} {
			f("two", g, bad, apierror.Unauthenticated)
		}
		g.Apply(gate.NewSettings(none, []string{"third"}))
		f("another", g, "Bearer first", apierror.Unauthenticated)
		f("another", g, "Bearer third", "")
	}
}
