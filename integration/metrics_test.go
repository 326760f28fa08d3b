package integration

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/redistest"
	"github.com/pushcart/pushcart/internal/sidecartest"
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
	parts    = regexp.MustCompile(`_(bucket|sum|count)$`) // of a histogram
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
			of = out[parts.ReplaceAllString(m[1], "")]
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

func scrape(t *testing.T, s *sidecartest.Sidecar) string {
	t.Helper()
	status, body := call(t, "GET", "http://"+s.Admin+"/metrics", "", "")
	if status != 200 {
		t.Fatalf("got %d %s", status, body)
	}
	return body
}

func TestMetrics_AreThoseOfTheDocs(t *testing.T) {
	alone := sidecartest.Start(t, "")
	holds(t, scrape(t, alone), "(with Redis)")
	s := sidecartest.Start(t, "redis: {addresses: ['"+redistest.Start(t).Addr+"']}")
	holds(t, scrape(t, s), "(without Redis)")
}

// query is a metric in a query, with its selector.
var (
	query   = regexp.MustCompile(`\b(pushcart_[a-z_]+)(?:\{([^}]*)\})?`)
	matcher = regexp.MustCompile(`([a-z_]+)(?:=~|!~|!=|=)"([^"]*)"`)
	grouped = regexp.MustCompile(`(?:by|without) \(([a-z, ]+)\)`)
)

// What the dashboard and the alerts ask for is there: metrics, labels and their values.
func TestMetrics_ServeWhatDashboardAndAlertsAskFor(t *testing.T) {
	have := served(t, scrape(t, sidecartest.Start(t, "redis: {addresses: ['"+redistest.Start(t).Addr+"']}")))
	maps.Copy(have, served(t, scrape(t, sidecartest.Start(t, ""))))
	for _, file := range []string{"grafana/pushcart.json", "prometheus/alerts.yml"} {
		b, err := os.ReadFile(filepath.Join("../deploy", file))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(b), `\"`, `"`)
		asked := query.FindAllStringSubmatch(text, -1)
		if len(asked) < 15 {
			t.Errorf("%s asks only for %q", file, asked)
		}
		labels := []string{"job", "instance", "le"}
		for _, q := range asked {
			m := have[q[1]]
			if base := parts.ReplaceAllString(q[1], ""); m == nil && have[base] != nil && have[base].kind == "histogram" {
				m = have[base]
			}
			if m == nil {
				t.Errorf("%s: no node serves %s", file, q[1])
				continue
			}
			labels = append(labels, m.labels...)
			m.takes(t, file, q)
		}
		for _, g := range grouped.FindAllStringSubmatch(text, -1) {
			for label := range strings.SplitSeq(g[1], ", ") {
				if !slices.Contains(labels, label) {
					t.Errorf("%s: no metric has the label of %q", file, g[0])
				}
			}
		}
	}
}

// takes checks the selector of a query.
func (m *metric) takes(t *testing.T, file string, q []string) {
	t.Helper()
	for _, p := range matcher.FindAllStringSubmatch(q[2], -1) {
		if p[1] == "job" || p[1] == "instance" {
			continue
		}
		for value := range strings.SplitSeq(p[2], "|") {
			if !slices.Contains(m.values[p[1]], value) {
				t.Errorf("%s: %s never has %s=%q", file, q[1], p[1], value)
			}
		}
	}
}
