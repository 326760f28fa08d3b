package proxy

import (
	"math/rand/v2"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/config"
)

// backendReader says whether a path reaches the handler of /hooks/push, or below, at a
// backend of one kind. What any of them takes for it, the wall has to hide.
type backendReader struct {
	name    string
	reaches func(path string) bool
}

var backendReaders = []backendReader{
	{"Express app.use", func(p string) bool { return expressPath.MatchString(legacyURL(p)) }},
	{"WHATWG URL, then a router that decodes", func(p string) bool {
		p = resolved(whatwgSegments(p), func(s string) string {
			return strings.NewReplacer("%2e", ".", "%2E", ".").Replace(s)
		})
		return under(once(p)) || expressPath.MatchString(p)
	}},
	{"nginx: decoded, merged, resolved", func(p string) bool {
		if strings.Contains(p, "%00") {
			return false
		}
		return under(strings.ToLower(resolved(merged(once(upTo(p, "#"))), same)))
	}},
	{"nginx without merge_slashes", func(p string) bool { return under(resolved(segmentsOf(once(upTo(p, "#"))), same)) }},
	{"PHP: a URL's path, decoded, matched with $", func(p string) bool {
		if rest := strings.TrimPrefix(p, "//"); rest != p {
			_, path, _ := strings.Cut(rest, "/")
			p = "/" + path
		}
		return dollar.MatchString(once(upTo(p, "#")))
	}},
	{"Tomcat: cut, decoded, resolved", func(p string) bool {
		return under(resolved(merged(strings.ReplaceAll(once(cutParameters(p)), `\`, "/")), same))
	}},
	{"Jetty: decoded, cut, resolved", func(p string) bool { return under(resolved(merged(cutParameters(once(p))), same)) }},
	{"resolved, then decoded", func(p string) bool { return under(once(resolved(segmentsOf(p), same))) }},
	{"decoded twice, resolved", func(p string) bool { return under(resolved(merged(once(once(p))), same)) }},
	{"resolved, then decoded and resolved", func(p string) bool {
		return under(resolved(merged(once(resolved(merged(p), same))), same))
	}},
	{"C: up to NUL", func(p string) bool { return under(resolved(merged(upTo(once(p), "\x00")), same)) }},
	{"Windows: dots and spaces at ends, upper case", func(p string) bool {
		all := merged(strings.ReplaceAll(once(p), `\`, "/"))
		for i, s := range all {
			if s != "." && s != ".." {
				all[i] = strings.TrimRight(s, ". ")
			}
		}
		return under(strings.ToLower(strings.ToUpper(resolved(all, same))))
	}},
	{"nothing resolved, decoded", func(p string) bool { return under(strings.ToLower(once(p))) }},
}

var (
	expressPath = regexp.MustCompile(`^/(?i:hooks/push)(/|$)`)
	dollar      = regexp.MustCompile(`^/?(?i:hooks/push)/?\n?$`)
)

func same(s string) string { return s }

func under(path string) bool {
	return path == "/hooks/push" || strings.HasPrefix(path, "/hooks/push/")
}

func upTo(s, end string) string {
	before, _, _ := strings.Cut(s, end)
	return before
}

// once decodes once.
func once(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if i+2 < len(s) && s[i] == '%' {
			if d, err := url.PathUnescape(s[i : i+3]); err == nil {
				b.WriteString(d)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func segmentsOf(path string) []string { return strings.Split(strings.TrimPrefix(path, "/"), "/") }

func merged(path string) []string {
	last := strings.HasSuffix(path, "/")
	all := slices.DeleteFunc(segmentsOf(path), func(s string) bool { return s == "" })
	if last {
		all = append(all, "")
	}
	return all
}

// resolved joins the segments, with dots, as dots shows them, resolved.
func resolved(segments []string, dots func(string) string) string {
	var out []string
	for _, s := range segments {
		switch dots(s) {
		case ".":
		case "..":
			out = out[:max(0, len(out)-1)]
		default:
			out = append(out, s)
		}
	}
	return "/" + strings.Join(out, "/")
}

func cutParameters(path string) string {
	all := strings.Split(path, "/")
	for i := range all {
		all[i] = upTo(all[i], ";")
	}
	return strings.Join(all, "/")
}

// legacyURL is the pathname that Node's url.parse finds, by way of parseurl.
func legacyURL(p string) string {
	if !strings.ContainsAny(p, "#") && !strings.Contains(p, "\xa0") {
		return p
	}
	end := len(p) // strings.TrimRight would want UTF-8
	for end > 0 && (p[end-1] == 0xa0 || p[end-1] == ' ') {
		end--
	}
	return strings.ReplaceAll(upTo(p[:end], "#"), `\`, "/")
}

// whatwgSegments are those of new URL(path, base).pathname.
func whatwgSegments(p string) []string {
	p = strings.ReplaceAll(upTo(p, "#"), `\`, "/")
	if strings.HasPrefix(p, "//") {
		_, path, _ := strings.Cut(strings.TrimLeft(p, "/"), "/")
		p = "/" + path
	}
	return segmentsOf(p)
}

// pathPieces are what odd paths are made of.
var pathPieces = []string{
	"/", "/", "/", "hooks", "push", "hooks/push", "/hooks", "/push", "HOOKS", "Pu%73h", "%70ush", "ho%6Fks", "/..", "/.", "..", ".", "/%2e%2e", "/.%2E",
	"%2f", "%2F", "%5c", `\`, ";", ";a=b", ";a%2f..%2fb", "..;", "%3b", "%00", "%0a", "%20", "#", "%23", "%3f", "%25", "%252f", "%252e%252e", "%2570ush",
	"a", "x/", "//", "//x", "\u017f", "hook\u017f", "\u212a", "%e2%84%aa", "\xa0", "%", "%2",
}

func walled() *wall {
	w := newWall(config.Webhook{URL: "http://app/hooks/push"})
	return &w
}

func checkWall(t *testing.T, w *wall, path string) {
	t.Helper()
	if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "? \x7f") || strings.IndexFunc(path, func(r rune) bool { return r < ' ' }) >= 0 {
		return // no path of a request
	}
	for _, r := range backendReaders {
		if r.reaches(path) && !w.hides([]byte(path)) {
			t.Errorf("%q reaches the webhook at a backend that reads as %s", path, r.name)
		}
	}
}

func TestWebhookWall_StandsBeforeEveryReader(t *testing.T) {
	w := walled()
	random := rand.New(rand.NewPCG(1, 2))
	for range 60_000 {
		path := "/"
		for range 1 + random.IntN(8) {
			path += pathPieces[random.IntN(len(pathPieces))]
		}
		checkWall(t, w, path)
		if t.Failed() {
			return
		}
	}
}

// FuzzWebhookWall makes paths of pieces, and of the bytes themselves.
func FuzzWebhookWall(f *testing.F) {
	f.Add([]byte{3, 0, 4}, "/hooks/push")
	f.Add([]byte{5, 13, 24}, "/hooks/..;/../push")
	f.Add([]byte{40, 0, 5}, "/hook\u017f%2fpush%2f%2e%2e")
	for _, found := range []string{
		"//hooks%2F;a%2f..%2fb\\HOOKSPu%73h;a=b/push", "/;a%2f..%2fb\\\xa0/hooks/push", "/hooks/pushPu%73h/..%2f/../..%2f/push",
		"/a\\b/.%2E/hooks/push", "//%2e%2e/push%2FK/%2e%2e/hooks/push%2f", "//aa\\b/hooks/push",
	} {
		f.Add([]byte{}, found)
	}
	w := walled()
	f.Fuzz(func(t *testing.T, pieces []byte, raw string) {
		path := "/"
		for _, p := range pieces {
			path += pathPieces[int(p)%len(pathPieces)]
		}
		checkWall(t, w, path)
		checkWall(t, w, raw)
	})
}

// Only what could be the webhook is looked at closely, and not beyond all measure.
func TestWebhookWall_OddPathsCostLittle(t *testing.T) {
	w := walled()
	plain := strings.Repeat("/aB", 20<<10)
	base := fastest(func() { _ = fold(decode(plain)) })
	f := func(piece string) {
		t.Helper()
		for _, size := range []int{oddPath, 60 << 10} {
			path := []byte("/hook/pus" + strings.Repeat(piece, size/len(piece)-16) + "/hooks;x/push")
			path = path[:min(len(path), size)]
			if took := fastest(func() { w.hides(path) }); took > 40*base {
				t.Errorf("%q × %d: %v, where folding 60 KiB takes %v", piece, len(path)/len(piece), took, base)
			}
		}
	}
	f("/a%2f..;%252f")
	f("/a;b")
	f("//..")
	f("%25252f;")
}

func BenchmarkWebhookWall(b *testing.B) {
	w := walled()
	for name, path := range map[string]string{
		"plain": "/api/v1/orders/0123456789/items", "odd": "/api/v1/Orders/caf%C3%A9", "hooks": "/hooks/%70ush/..",
		"long": strings.Repeat("/aB%2f;x", 7000) + "/hooks/push", "worst": "/hooks/pus" + strings.Repeat("/a%25252f..;%252f", 55) + "/hooks;x/push",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w.hides([]byte(path))
			}
		})
	}
}
