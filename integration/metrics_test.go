package integration

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// metric is one as it is served, or as docs/metrics.md has it.
type metric struct {
	kind   string
	labels []string            // sorted
	values map[string][]string // of each label, as served
	text   string              // the meaning, in the docs
}

var (
	typeLine = regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`)
	sample   = regexp.MustCompile(`(?m)^(pushcart_[a-z_]+)(?:\{(.*)\})? \S+$`)
	pair     = regexp.MustCompile(`([a-z_]+)="([^"]*)"`)
	row      = regexp.MustCompile("(?m)^\\| `(pushcart_[a-z_]+)(?:\\{([a-z,]+)\\})?` \\| ([a-z]+) \\| (.*) \\|$")
)

// served are pushcart's own metrics of a scrape.
func served(t *testing.T, scrape string) map[string]*metric {
	t.Helper()
	out := map[string]*metric{}
	for _, m := range typeLine.FindAllStringSubmatch(scrape, -1) {
		if strings.HasPrefix(m[1], "pushcart_") {
			out[m[1]] = &metric{kind: m[2], values: map[string][]string{}}
		}
	}
	for _, m := range sample.FindAllStringSubmatch(scrape, -1) {
		of := out[m[1]]
		if of == nil {
			of = out[regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(m[1], "")]
		}
		if of == nil {
			t.Fatalf("%s has no type", m[0])
		}
		for _, p := range pair.FindAllStringSubmatch(m[2], -1) {
			if label, value := p[1], p[2]; label != "le" && !slices.Contains(of.values[label], value) {
				of.values[label] = append(of.values[label], value)
			}
		}
		of.labels = slices.Sorted(maps.Keys(of.values))
	}
	return out
}

// documented are the rows of docs/metrics.md.
func documented(t *testing.T) map[string]*metric {
	t.Helper()
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*metric{}
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		labels := slices.DeleteFunc(strings.Split(m[2], ","), func(s string) bool { return s == "" })
		slices.Sort(labels)
		out[m[1]] = &metric{kind: m[3], labels: labels, text: m[4]}
	}
	if len(out) < 30 {
		t.Fatalf("only %d metrics are documented", len(out))
	}
	return out
}

// unlisted are labels whose values the docs do not list.
var unlisted = []string{"version", "commit", "go"}

// holds compares a scrape with the docs; absent is what those say of metrics that are
// not to be there.
func holds(t *testing.T, scrape, absent string) {
	t.Helper()
	have, want := served(t, scrape), documented(t)
	for name, d := range want {
		h := have[name]
		if missing := strings.Contains(d.text, absent); missing != (h == nil) {
			t.Errorf("%s: is served: %v; the docs say %q", name, h != nil, d.text)
		}
		if h == nil {
			continue
		}
		if h.kind != d.kind || !slices.Equal(h.labels, d.labels) {
			t.Errorf("%s is a %s with labels %q, in the docs a %s with %q", name, h.kind, h.labels, d.kind, d.labels)
		}
		for label, values := range h.values {
			for _, v := range values {
				if !slices.Contains(unlisted, label) && !strings.Contains(d.text, "`"+v+"`") {
					t.Errorf("%s{%s=%q}: the docs do not have this value", name, label, v)
				}
			}
		}
		for _, word := range regexp.MustCompile("`([a-z_]+|[0-9]{3})`").FindAllStringSubmatch(d.text, -1) {
			if all := slices.Concat(slices.Collect(maps.Values(h.values))...); len(all) > 0 && !slices.Contains(all, word[1]) {
				t.Errorf("%s: the docs have %s, which no label has from the start", name, word[0])
			}
		}
	}
	for name := range have {
		if want[name] == nil {
			t.Errorf("%s is served, but not in the docs", name)
		}
	}
}

func scrape(t *testing.T, s *sidecar) string {
	t.Helper()
	status, body := call(t, "GET", "http://"+s.admin+"/metrics", "", "")
	if status != 200 {
		t.Fatalf("got %d %s", status, body)
	}
	return body
}

func TestMetrics_AreThoseOfTheDocs(t *testing.T) {
	alone := start(t, "")
	holds(t, scrape(t, alone), "(with Redis)")
	s := start(t, "redis: {addresses: ['"+startRedis(t).addr+"']}")
	holds(t, scrape(t, s), "(without Redis)")
}

// What the dashboard and the alerts ask for must be there.
func TestMetrics_ServeWhatDashboardAndAlertsAskFor(t *testing.T) {
	have := served(t, scrape(t, start(t, "redis: {addresses: ['"+startRedis(t).addr+"']}")))
	maps.Copy(have, served(t, scrape(t, start(t, ""))))
	for _, file := range []string{"grafana/pushcart.json", "prometheus/alerts.yml"} {
		b, err := os.ReadFile(filepath.Join("../deploy", file))
		if err != nil {
			t.Fatal(err)
		}
		names := regexp.MustCompile(`\bpushcart_[a-z_]+`).FindAllString(string(b), -1)
		if len(names) < 15 {
			t.Errorf("%s names only %q", file, names)
		}
		for _, name := range names {
			base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
			if m := have[base]; have[name] == nil && (m == nil || m.kind != "histogram") {
				t.Errorf("%s: no node serves %s", file, name)
			}
		}
	}
}
