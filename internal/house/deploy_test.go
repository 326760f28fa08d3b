package house

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/testkit"
)

const deploy = "../../deploy"

// dashboard is what these tests read of Grafana's format.
type dashboard struct {
	Title      string
	Templating struct{ List []variable }
	Panels     []panel
}

type variable struct {
	Name, Type string
	Multi      bool
	IncludeAll bool
	Datasource source
}

type source struct{ UID string }

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               source
	GridPos                  struct{ H, W, X, Y int }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []target
}

type target struct {
	RefID      string
	Expr       string
	Datasource source
}

func readDashboard(t *testing.T) *dashboard {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(deploy, "grafana/pushcart.json"))
	if err != nil {
		t.Fatal(err)
	}
	d := new(dashboard)
	if err := json.Unmarshal(b, d); err != nil {
		t.Fatal(err)
	}
	return d
}

// shows calls f for panels that are not rows.
func (d *dashboard) shows(t *testing.T, f func(p *panel)) {
	t.Helper()
	n := 0
	for i := range d.Panels {
		if p := &d.Panels[i]; p.Type != "row" {
			n++
			f(p)
		}
	}
	if n < 30 {
		t.Fatalf("only %d panels found", n)
	}
}

func TestDashboard_EveryPanelSaysWhatItShows(t *testing.T) {
	units := []string{"none", "short", "s", "bytes", "Bps", "percentunit", "ops", "cps", "reqps"} // of Grafana
	seen := map[string]bool{}
	readDashboard(t).shows(t, func(p *panel) {
		if p.Title == "" || seen[p.Title] || seen[fmt.Sprint(p.ID)] {
			t.Errorf("panel %d %q: no title, or one that is taken, as is its id", p.ID, p.Title)
		}
		seen[p.Title], seen[fmt.Sprint(p.ID)] = true, true
		if !strings.HasSuffix(p.Description, ".") {
			t.Errorf("%s: the description is %q", p.Title, p.Description)
		}
		if unit := p.FieldConfig.Defaults.Unit; !slices.Contains(units, unit) {
			t.Errorf("%s: the unit is %q", p.Title, unit)
		}
	})
}

// Any Prometheus, any number of nodes: each query is asked of the chosen data source
// and held to the chosen job and nodes.
func TestDashboard_EveryQueryIsHeldToTheChosenNodes(t *testing.T) {
	d := readDashboard(t)
	var names []string
	for _, v := range d.Templating.List {
		names = append(names, v.Name+" "+v.Type)
		if v.Type == "query" && (!v.Multi || !v.IncludeAll || v.Datasource.UID != "${datasource}") {
			t.Errorf("variable %s takes one value, or has its own data source", v.Name)
		}
	}
	if want := []string{"datasource datasource", "job query", "instance query"}; !slices.Equal(names, want) {
		t.Errorf("the variables are %q, want %q", names, want)
	}
	asked := regexp.MustCompile(`\b(pushcart|process|go)_[a-z_]+`)
	d.shows(t, func(p *panel) {
		if p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
			t.Errorf("%s: data source %q, %d queries", p.Title, p.Datasource.UID, len(p.Targets))
		}
		for _, q := range p.Targets {
			n := len(asked.FindAllString(q.Expr, -1))
			if held := strings.Count(q.Expr, `{job=~"$job",instance=~"$instance"`); n == 0 || held != n {
				t.Errorf("%s: %d of %d metrics are held to the chosen nodes: %s", p.Title, held, n, q.Expr)
			}
			if q.Datasource.UID != "${datasource}" || q.RefID == "" {
				t.Errorf("%s: a query of %q to data source %q", p.Title, q.RefID, q.Datasource.UID)
			}
		}
	})
}

func TestDashboard_PanelsDoNotOverlap(t *testing.T) {
	taken := map[[2]int]string{}
	for _, p := range readDashboard(t).Panels {
		g := p.GridPos
		if g.W < 1 || g.H < 1 || g.X < 0 || g.X+g.W > 24 {
			t.Errorf("%s is at %+v", p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("%s lies on %s", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

type alert struct {
	Alert, Expr         string
	Labels, Annotations map[string]string
}

func readAlerts(t *testing.T) (all []alert) {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []alert }
	}
	readYAML(t, "prometheus/alerts.yml", &file)
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 15 {
		t.Fatalf("only %d alerts found", len(all))
	}
	return all
}

func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(deploy, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// Whoever is woken reads which node it is, what to find out, and which keys decide.
func TestAlerts_SayWhereToLook(t *testing.T) {
	var keys []string
	for _, e := range config.Entries(config.Default()) {
		keys = append(keys, e.Key)
	}
	var names []string
	for _, a := range readAlerts(t) {
		names = append(names, a.Alert)
		if s := a.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity %q", a.Alert, s)
		}
		if s := a.Annotations["summary"]; !strings.Contains(s, "{{ $labels.instance }}") {
			t.Errorf("%s: the summary names no node: %q", a.Alert, s)
		}
		if q := a.Annotations["question"]; !strings.Contains(q, "?") {
			t.Errorf("%s: the question is %q", a.Alert, q)
		}
		look, decides := a.Annotations["look_at"]
		if !decides && !strings.Contains(a.Annotations["question"], "log") {
			t.Errorf("%s: neither a key nor the log is named", a.Alert)
		}
		for key := range strings.SplitSeq(look, ", ") {
			if decides && !slices.Contains(keys, key) {
				t.Errorf("%s: %q is not a key of the configuration", a.Alert, key)
			}
		}
	}
	slices.Sort(names)
	if named := firstCells(readDoc(t, "operations.md"), "Pushcart[A-Za-z]+"); !slices.Equal(named, names) {
		t.Errorf("the alerts are\n%q, docs/operations.md has\n%q", names, named)
	}
}

// TestAlerts_AreTestedBothWays: promtool runs these tests; here is only seen that each
// alert has one in which it fires and one in which it does not.
func TestAlerts_AreTestedBothWays(t *testing.T) {
	var file struct {
		Tests []struct {
			Name  string
			Exprs []struct {
				Expr    string
				Samples []any `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		}
	}
	readYAML(t, "prometheus/alerts_test.yml", &file)
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, e := range test.Exprs {
			if e.Expr != fmt.Sprintf("ALERTS{alertname=%q,alertstate=\"firing\"}", test.Name) {
				t.Errorf("%s: asks for %s", test.Name, e.Expr)
			}
			fires[test.Name] = fires[test.Name] || len(e.Samples) > 0
			quiet[test.Name] = quiet[test.Name] || len(e.Samples) == 0
		}
	}
	for _, a := range readAlerts(t) {
		if !fires[a.Alert] || !quiet[a.Alert] {
			t.Errorf("%s: seen firing: %v, not firing: %v", a.Alert, fires[a.Alert], quiet[a.Alert])
		}
	}
}

func TestPrometheus_TakesConfigurationRulesAndQueries(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		testkit.Missing(t, "promtool")
	}
	run := func(dir string, args ...string) {
		t.Helper()
		cmd := exec.Command(promtool, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %q: %v\n%s", args, err, out)
		}
	}
	prometheus := filepath.Join(deploy, "prometheus")
	run(prometheus, "check", "config", "prometheus.yml")
	run(prometheus, "check", "rules", "alerts.yml")
	run(prometheus, "test", "rules", "alerts_test.yml")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "queries.yml"), queries(t), 0o600); err != nil {
		t.Fatal(err)
	}
	run(dir, "check", "rules", "queries.yml")
}

// queries are the dashboard's, as rules.
func queries(t *testing.T) []byte {
	t.Helper()
	type rule struct{ Record, Expr string }
	type group struct {
		Name  string
		Rules []rule
	}
	g := group{Name: "dashboard"}
	filled := strings.NewReplacer("$__rate_interval", "5m", "$job", ".+", "$instance", ".+")
	readDashboard(t).shows(t, func(p *panel) {
		for _, q := range p.Targets {
			g.Rules = append(g.Rules, rule{fmt.Sprintf("panel:%d:%s", p.ID, q.RefID), filled.Replace(q.Expr)})
		}
	})
	b, err := yaml.Marshal(map[string][]group{"groups": {g}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
