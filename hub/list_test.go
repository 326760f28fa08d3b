package hub

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMatchPattern(t *testing.T) {
	f := func(pattern, name string, want bool) {
		t.Helper()
		if got := matchPattern(pattern, name); got != want {
			t.Errorf("%q matches %q: got %v, want %v", pattern, name, got, want)
		}
	}
	f("", "anything", true)
	f("news", "news", true)
	f("news", "newsletter", false)
	f("news.*", "news.sport", true)
	f("news.*", "news.sport.tennis", false)
	f("news.**", "news.sport.tennis", true)
	f("*", "news", true)
	f("*", "news.sport", false)
	f("**", "news.sport", true)
	f("*.sport", "news.sport", true)
	f("**.x*", "a.b.xyz", true)
	f("**.x*", "a.b.xyz.q", false)
	f("a*b*c", "a-b-b-c", true)
}

// The pattern means what a regular expression says.
func FuzzMatchPattern(f *testing.F) {
	f.Add("a.*.b", "a.x.b")
	f.Add("**a*.b**", "xa.a.b.c")
	f.Add("***", "a.b")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 40 || len(name) > 200 || strings.Contains(name, "\n") || !utf8.ValidString(name) {
			return
		}
		quoted := regexp.QuoteMeta(pattern)
		quoted = strings.ReplaceAll(quoted, `\*\*`, `(?:.|\n){0,}`)
		quoted = strings.ReplaceAll(quoted, `\*`, `[^.]*`)
		re, err := regexp.Compile(`\A` + quoted + `\z`)
		if err != nil || strings.ContainsRune(pattern, '\uFFFD') || strings.ContainsRune(name, '\uFFFD') {
			return
		}
		if got, want := matchPattern(pattern, name), pattern == "" || re.MatchString(name); got != want {
			t.Errorf("%q matches %q: got %v, want %v", pattern, name, got, want)
		}
	})
}

// Paging through the channels of two nodes shows each once, with all its
// connections, in order.
func TestChannels_PageOverNodes(t *testing.T) {
	a, b, _ := pair(t)
	want := map[string]int{}
	for i := range 50 {
		name := fmt.Sprintf("room.%02d", i*7%50)
		for n, h := range []*Hub{a, b} {
			if i%3 != n {
				join(t, h, "", name)
				want[name]++
			}
		}
	}
	join(t, a, "", "other")
	var got []ChannelCount
	for after := ""; ; {
		replies, complete, err := b.gather(t.Context(), topicAll, request{Op: opChannels, Channel: "room.*", After: after, Most: 7})
		if err != nil || !complete {
			t.Fatalf("complete %v, %v", complete, err)
		}
		page, next := mergeChannels(replies, 7)
		if len(page) > 7 || next != "" && len(page) == 0 {
			t.Fatalf("page of %d, next %q", len(page), next)
		}
		got = append(got, page...)
		if after = next; next == "" {
			break
		}
	}
	if !slices.IsSortedFunc(got, func(x, y ChannelCount) int { return strings.Compare(x.Channel, y.Channel) }) {
		t.Errorf("not in order: %v", got)
	}
	if len(got) != len(want) {
		t.Errorf("got %d channels, want %d", len(got), len(want))
	}
	for _, c := range got {
		if c.Connections != want[c.Channel] {
			t.Errorf("%s: got %d connections, want %d", c.Channel, c.Connections, want[c.Channel])
		}
	}
}
