package house

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/pushcart/pushcart/"

// allowed is the diagram of docs/architecture.md: arrows only go down. Everybody
// may import internal/*, which imports nothing but itself. A folder that is not listed
// belongs to the one above it.
var allowed = map[string][]string{
	"client/js":                  {},
	"config":                     {},
	"metrics":                    {},
	"auth":                       {"config"},
	"broker":                     {"config"},
	"broker/memory":              {"broker", "config"},
	"broker/redisbroker":         {"broker", "config", "metrics"},
	"broker/redisbroker/access":  {"config"},
	"broker/redisbroker/master":  {},
	"broker/redisbroker/link":    {"broker", "broker/redisbroker/access", "broker/redisbroker/master", "config", "metrics"},
	"broker/redisbroker/streams": {"broker", "broker/redisbroker/link"},
	"broker/redisbroker/pubsub":  {"broker", "broker/redisbroker/link", "broker/redisbroker/streams"},
	"broker/redisbroker/lists":   {"broker", "broker/redisbroker/link", "broker/redisbroker/pubsub"},
	"broker/redisbroker/roster":  {"broker", "broker/redisbroker/link"},
	"broker/redisbroker/seats":   {"broker", "broker/redisbroker/link", "broker/redisbroker/pubsub", "config"},
	"proxy":                      {"config", "metrics"},
	"webhook":                    {"broker", "config", "metrics"},
	"hub":                        {"broker", "broker/memory", "config", "metrics"},
	"hub/internal/answers":       {"broker", "hub/internal/envelope", "hub/internal/registry"},
	"hub/internal/envelope":      {"hub/internal/registry"},
	"hub/internal/receipt":       {},
	"hub/internal/registry":      {"broker", "config", "hub/internal/receipt"},
	"push":                       {"config", "hub", "metrics"},
	"session":                    {"auth", "broker", "config", "hub", "metrics", "webhook"},
	"protocol":                   {"hub", "session"},
	"ws":                         {"config", "hub", "metrics", "session"},
	"admin":                      {"broker", "config", "metrics"},
	"cmd/pushcart":               {"admin", "auth", "broker", "broker/memory", "broker/redisbroker", "client/js", "config", "hub", "metrics", "protocol", "proxy", "push", "session", "webhook", "ws"},
	"cmd/pushcart/internal/ask":  {"admin", "cmd/pushcart/internal/cli", "config", "hub", "push"},
	"cmd/pushcart/internal/cli":  {"config"},
	"integration":                {},
	"bench":                      {"bench/internal/peers", "config", "metrics", "proxy"}, // a proxy alone, to measure it
}

const (
	maxFunction = 60  // lines
	maxFile     = 400 // lines, tests not counted
)

func TestImportsGoDownOnly(t *testing.T) {
	eachFile(t, func(path string, _ []byte, _ *token.FileSet, f *ast.File) {
		dir := filepath.ToSlash(filepath.Dir(path))
		for _, spec := range f.Imports {
			to, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), module)
			if !ours || strings.HasPrefix(to, "internal/") || to == dir || strings.HasPrefix(to, dir+"/") || strings.HasPrefix(dir, to+"/") {
				continue
			}
			may := allowed[listed(dir)]
			inTests := strings.HasSuffix(path, "_test.go") && listed(dir) != "integration"
			if !slices.Contains(may, listed(to)) && !slices.Contains(may, to) && !inTests {
				t.Errorf("%s imports %s: not in the diagram", path, to)
			}
		}
	})
}

// listed is the folder of the diagram that a folder belongs to.
func listed(dir string) string {
	for dir != "." && allowed[dir] == nil {
		dir = filepath.ToSlash(filepath.Dir(dir))
	}
	return dir
}

// The composition root hands out sections; who takes the whole configuration can read,
// and come to need, anything.
func TestOnlyTheRootKnowsTheWholeConfiguration(t *testing.T) {
	eachFile(t, func(path string, _ []byte, set *token.FileSet, f *ast.File) {
		dir := filepath.ToSlash(filepath.Dir(path))
		if dir == "config" || dir == "cmd/pushcart" || strings.HasSuffix(path, "_test.go") {
			return
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Config" {
				if of, ok := s.X.(*ast.Ident); ok && of.Name == "config" {
					t.Errorf("%s names config.Config: take the sections that it needs", set.Position(s.Pos()))
				}
			}
			return true
		})
	})
}

func TestFunctionsAndFilesAreShort(t *testing.T) {
	eachFile(t, func(path string, src []byte, set *token.FileSet, f *ast.File) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		if n := bytes.Count(src, []byte("\n")); n > maxFile {
			t.Errorf("%s has %d lines; %d is the ceiling", path, n, maxFile)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line; n > maxFunction {
				t.Errorf("%s: %s has %d lines; %d is the ceiling", path, fn.Name.Name, n, maxFunction)
			}
		}
	})
}

func TestPackagesSayWhatTheyAreFor(t *testing.T) {
	documented := map[string]bool{}
	eachFile(t, func(path string, _ []byte, _ *token.FileSet, f *ast.File) {
		dir := filepath.Dir(path)
		if !strings.HasSuffix(path, "_test.go") {
			documented[dir] = documented[dir] || f.Doc != nil
		}
	})
	for dir, ok := range documented {
		if !ok {
			t.Errorf("package %s has no comment", dir)
		}
	}
}

// goFile is one of the repository.
type goFile struct {
	path string // from the root
	text []byte
	set  *token.FileSet
	file *ast.File
}

// goFiles are all of them, read once for all tests.
var goFiles = sync.OnceValues(func() (all []goFile, err error) {
	const root = "../.."
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		s := goFile{set: token.NewFileSet()}
		if s.text, err = os.ReadFile(path); err != nil {
			return err
		}
		if s.file, err = parser.ParseFile(s.set, path, s.text, parser.ParseComments); err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		s.path = filepath.ToSlash(rel)
		all = append(all, s)
		return err
	})
	return all, err
})

func eachFile(t *testing.T, do func(path string, src []byte, set *token.FileSet, f *ast.File)) {
	t.Helper()
	all, err := goFiles()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("only %d files found", len(all))
	}
	for _, s := range all {
		do(s.path, s.text, s.set, s.file)
	}
}
