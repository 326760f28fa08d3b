package glob

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/race"
)

func compile(t testing.TB, pattern string) Pattern {
	t.Helper()
	p, err := Compile(pattern)
	if err != nil {
		t.Fatalf("%q: %v", pattern, err)
	}
	if p.String() != pattern {
		t.Errorf("%q is shown as %q", pattern, p)
	}
	return p
}

func TestPattern_Match(t *testing.T) {
	f := func(pattern, name string, want bool) {
		t.Helper()
		if got := compile(t, pattern).Match(name); got != want {
			t.Errorf("%q matches %q: got %v, want %v", pattern, name, got, want)
		}
	}
	f("news", "news", true)
	f("news", "newsletter", false)
	f("newsletter", "news", false)
	f("news.*", "news.sport", true)
	f("news.*", "news.", true)
	f("news.*", "news", false)
	f("news.*", "news.sport.tennis", false)
	f("news.**", "news.sport.tennis", true)
	f("*", "news", true)
	f("*", "news.sport", false)
	f("**", "news.sport", true)
	f("*.sport", "news.sport", true)
	f("**.x*", "a.b.xyz", true)
	f("**.x*", "a.b.xyz.q", false)
	f("**.x*.**.y", "a.xb.xc.z.y", true)
	f("a*b*c", "a-b-b-c", true)
	f("a*b*c", "a-b.b-c", false)
	f("chat.{user}", "chat.42", true)
	f("chat.{user}", "chat.", false)
	f("chat.{user}", "chat.42.x", false)
	f("chat.{user}.**", "chat.42.x.y", true)
	f("chat.{user}.**", "chat..x.y", false)
	f("{user}", "42", true)
	f("{user}", "4.2", false)
	f("**.{user}.inbox", "a.b.42.inbox", true)
	f("ü*", "über", true)
	if (Pattern{}).Match("") || (Pattern{}).Match("x") {
		t.Error("the zero value matches something")
	}
}

func TestPattern_MatchFor(t *testing.T) {
	f := func(pattern, name, user string, want bool) {
		t.Helper()
		p := compile(t, pattern)
		if got := p.MatchFor(name, user); got != want {
			t.Errorf("%q matches %q for %q: got %v, want %v", pattern, name, user, got, want)
		}
		if want && !p.Match(name) {
			t.Errorf("%q matches %q for %q, but for nobody", pattern, name, user)
		}
	}
	f("chat.{user}", "chat.42", "42", true)
	f("chat.{user}", "chat.42", "43", false)
	f("chat.{user}", "chat.42", "4", false)
	f("chat.{user}", "chat.4", "42", false)
	f("chat.{user}", "chat.", "", false)
	f("chat.*", "chat.42", "", true)
	f("{user}.**", "42.a.b", "42", true)
	f("**.{user}", "42.43.42", "42", true)
	f("**.{user}", "42.43.42", "43", false)
	// An id is one segment, whatever is in it.
	f("mail.{user}", "mail.ann%2Elee@example%2Ecom", "ann.lee@example.com", true)
	f("mail.{user}", "mail.ann.lee@example.com", "ann.lee@example.com", false)
	f("mail.{user}.**", "mail.ann.lee@example%2Ecom", "ann", true) // Ann's, and never Ann Lee's
	f("mail.{user}.**", "mail.ann.lee@example%2Ecom", "ann.lee@example.com", false)
	f("x.{user}", "x.100%25", "100%", true)
	f("x.{user}", "x.100%", "100%", false)
	f("x.{user}", "x.%2A", "*", true)
	f("x.{user}", "x.*", "*", false)
	f("x.{user}", "x.%2e", ".", false)
	f("x.{user}", "x.zoë", "zoë", true)
	long := strings.Repeat("é", 127)
	f("{user}", long, long, true)
}

func TestCompile_RefusesWhatIsNoPattern(t *testing.T) {
	f := func(pattern string, want error) {
		t.Helper()
		if _, err := Compile(pattern); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", pattern, err, want)
		}
	}
	f("", ErrEmpty)
	f(strings.Repeat("a", 256), ErrTooLong)
	f(strings.Repeat("a", 255), nil)
	f("\xff", ErrEncoding)
	f("a\x00b", ErrEncoding)
	f("a\u0085b", ErrEncoding)
	f("a.***", ErrStars)
	f("{user}.{user}", ErrUsers)
	f("a{user}", ErrGlued)
	f("{user}a", ErrGlued)
	f("*{user}", ErrGlued)
	f("{user}**", ErrGlued)
	f("a{user}b", ErrGlued)
	f("a.{user}.b", nil)
	f("a{b", nil)
	if _, err := Compile("a.{id}"); err == nil || !strings.Contains(err.Error(), "{id}") {
		t.Errorf("{id}: got %v", err)
	}
}

func TestPattern_Covers(t *testing.T) {
	f := func(p, q string, want bool) {
		t.Helper()
		if got := compile(t, p).Covers(compile(t, q)); got != want {
			t.Errorf("%q covers %q: got %v, want %v", p, q, got, want)
		}
	}
	f("**", "news", true)
	f("**", "*", true)
	f("**", "{user}", true)
	f("**", "**", true)
	f("news.**", "news.*", true)
	f("news.**", "news.{user}.x", true)
	f("news.**", "news", false)
	f("news.**", "**", false)
	f("news.*", "news.*", true)
	f("*", "news", false) // not seen
	f("*.a", "**.a", false)
	f("a*", "a**", false)
}

// reference is what a pattern means, as a regular expression says it.
func reference(pattern, user string) (*regexp.Regexp, error) {
	quoted := regexp.QuoteMeta(pattern)
	quoted = strings.ReplaceAll(quoted, `\*\*`, `(?s:.*)`)
	quoted = strings.ReplaceAll(quoted, `\*`, `[^.]*`)
	quoted = strings.ReplaceAll(quoted, `\{user\}`, user)
	return regexp.Compile(`\A` + quoted + `\z`)
}

// The pattern means what a regular expression says.
func FuzzPattern(f *testing.F) {
	f.Add("a.*.b", "a.x.b", "u")
	f.Add("**a*.b**", "xa.a.b.c", "u")
	f.Add("**.{user}.*x", "a.u.%2E.x", ".")
	f.Add("{user}.**.a*b", "u.a.b.ab", "u")
	f.Fuzz(func(t *testing.T, pattern, name, user string) {
		p, err := Compile(pattern)
		if err != nil || len(name) > 200 || len(user) > 200 || user == "" {
			return
		}
		escaped := strings.NewReplacer("%", "%25", ".", "%2E", "*", "%2A").Replace(user)
		for _, c := range []struct {
			segment string
			got     bool
		}{{`[^.]+`, p.Match(name)}, {regexp.QuoteMeta(escaped), p.MatchFor(name, user)}} {
			re, err := reference(pattern, c.segment)
			if err != nil || strings.ContainsRune(pattern+name+escaped, '\uFFFD') {
				return // it takes bytes that are no UTF-8 for U+FFFD
			}
			if want := re.MatchString(name); c.got != want {
				t.Errorf("%q matches %q for %q: got %v, want %v", pattern, name, c.segment, c.got, want)
			}
		}
	})
}

// What covers another fits whatever that fits.
func FuzzPattern_Covers(f *testing.F) {
	f.Add("a.**", "a.{user}.*", "a.b.c")
	f.Fuzz(func(t *testing.T, p, q, name string) {
		outer, err := Compile(p)
		inner, err2 := Compile(q)
		if err == nil && err2 == nil && outer.Covers(inner) && inner.Match(name) && !outer.Match(name) {
			t.Errorf("%q covers %q, and does not fit %q", p, q, name)
		}
	})
}

func TestPattern_DoesNotAllocate(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates")
	}
	p := compile(t, "chat.**.{user}.*")
	if n := testing.AllocsPerRun(100, func() {
		p.Match("chat.a.b.ann%2Elee.x")
		p.MatchFor("chat.a.b.ann%2Elee.x", "ann.lee")
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPattern_Match(b *testing.B) {
	for _, c := range []struct{ pattern, name string }{
		{"**", "chat.room.42"}, {"chat.**", "chat.room.42"}, {"orders.*", "chat.room.42"}, {"chat.*.42", "chat.room.42"},
		{"**.{user}.x*", "a.b.c.d.e.f.xyz"},
	} {
		b.Run(c.pattern, func(b *testing.B) {
			p := compile(b, c.pattern)
			b.ReportAllocs()
			for b.Loop() {
				p.Match(c.name)
			}
		})
	}
	b.Run("for", func(b *testing.B) {
		p := compile(b, "mail.{user}.**")
		b.ReportAllocs()
		for b.Loop() {
			p.MatchFor("mail.ann%2Elee@example%2Ecom.inbox", "ann.lee@example.com")
		}
	})
}
