package house

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func readDoc(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// firstCells are what matches in the first cell of a page's tables.
func firstCells(page, pattern string) (out []string) {
	for _, cell := range regexp.MustCompile(`(?m)^\|([^|]*)\|`).FindAllStringSubmatch(page, -1) {
		out = append(out, regexp.MustCompile(pattern).FindAllString(cell[1], -1)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestDocs_ArchitectureNamesEveryPackageAndNoOther(t *testing.T) {
	var have []string
	eachFile(t, func(path string, _ []byte, _ *token.FileSet, _ *ast.File) {
		have = append(have, filepath.ToSlash(filepath.Dir(path)))
	})
	slices.Sort(have)
	have = slices.Compact(have)
	page := readDoc(t, "architecture.md")
	named := firstCells(page, "`[a-z0-9/]+`")
	for i, dir := range named {
		named[i] = strings.Trim(dir, "`")
	}
	for _, dir := range have {
		// A package below one in the table is named in its row.
		if !slices.Contains(named, dir) && !strings.Contains(page, "`"+filepath.Base(dir)+"`") {
			t.Errorf("docs/architecture.md does not name %s", dir)
		}
	}
	for _, dir := range named {
		if !slices.Contains(have, dir) {
			t.Errorf("docs/architecture.md names %s, which is not there", dir)
		}
	}
}

func TestDocs_MetricsAreThoseOfTheCode(t *testing.T) {
	literal := regexp.MustCompile(`"(pushcart_[a-z_]+)"`)
	var have []string
	eachFile(t, func(path string, src []byte, _ *token.FileSet, _ *ast.File) {
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "bench/") {
			return
		}
		for _, m := range literal.FindAllSubmatch(src, -1) {
			have = append(have, string(m[1]))
		}
	})
	slices.Sort(have)
	have = slices.Compact(have)
	named := firstCells(readDoc(t, "metrics.md"), "pushcart_[a-z_]+")
	if !slices.Equal(have, named) {
		t.Errorf("the code has\n%q\ndocs/metrics.md has\n%q", have, named)
	}
}

// integration holds the other way round: what is in the docs is served.
func TestDocs_HaveEveryResultOfAHandshake(t *testing.T) {
	row := regexp.MustCompile(`(?m)^.*pushcart_connects_total.*$`).FindString(readDoc(t, "metrics.md"))
	result := regexp.MustCompile(`\bRefuse\("([a-z_]+)"|\bResult(?:Left)?\b[ :=]+"([a-z_]+)"|\bresult, code :?= "([a-z_]+)"`)
	found := map[string]bool{}
	eachFile(t, func(path string, src []byte, _ *token.FileSet, _ *ast.File) {
		if strings.HasSuffix(path, "_test.go") || !strings.HasPrefix(path, "session/") && !strings.HasPrefix(path, "ws/") {
			return
		}
		for _, m := range result.FindAllSubmatch(src, -1) {
			found[string(m[1])+string(m[2])+string(m[3])] = true
		}
	})
	for r := range found {
		if !strings.Contains(row, "`"+r+"`") {
			t.Errorf("a handshake may be counted as %q, which docs/metrics.md does not have", r)
		}
	}
	if len(found) < 10 {
		t.Errorf("only %d results found", len(found))
	}
}
