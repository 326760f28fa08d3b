package house

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/testdocs"
)

// warnings are the messages of all WARN and ERROR lines that the code logs, by where
// they are.
func warnings(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	eachFile(t, func(path string, _ []byte, set *token.FileSet, f *ast.File) {
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "bench/") || strings.HasPrefix(path, "broker/brokertest/") ||
			path == "internal/ratelog/ratelog.go" {
			return
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				for _, message := range logged(path, fn, n) {
					found[message] = set.Position(n.Pos()).String()
				}
				return true
			})
		}
	})
	if len(found) < 40 {
		t.Fatalf("only %d messages found", len(found))
	}
	return found
}

// logged are the messages that a call may log as WARN or ERROR.
func logged(path string, fn *ast.FuncDecl, n ast.Node) []string {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return nil
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) == 0 {
		return nil
	}
	at := 0
	switch method.Sel.Name {
	case "Warn", "Error":
		if rateLimited(path, call.Args) {
			at = 1 // the first is the cause
		}
	case "Log": // of slog, with context and level
		at = 2
	default:
		return nil
	}
	if at >= len(call.Args) {
		return nil
	}
	return texts(fn, call.Args[at])
}

// rateLimited says whether it is a call of a ratelog.Logger: behind the cause there is a
// message, or what may be one, where a slog.Logger has a key, which is one word.
func rateLimited(path string, args []ast.Expr) bool {
	if len(args) < 2 || path == "internal/guard/guard.go" {
		return len(args) > 1
	}
	literal, ok := args[1].(*ast.BasicLit)
	if !ok {
		_, joined := args[1].(*ast.BinaryExpr)
		_, variable := args[1].(*ast.Ident)
		return joined || variable
	}
	return strings.Contains(literal.Value, " ")
}

// texts are the strings that an expression may be: a literal, literals joined, or a
// variable of the function.
func texts(fn *ast.FuncDecl, x ast.Expr) (all []string) {
	switch x := x.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(x.Value); err == nil {
			all = append(all, text)
		}
	case *ast.BinaryExpr:
		left, right := texts(fn, x.X), texts(fn, x.Y)
		if len(left) == 1 && len(right) == 1 {
			all = append(all, left[0]+right[0])
		}
	case *ast.Ident:
		ast.Inspect(fn, func(n ast.Node) bool {
			if set, ok := n.(*ast.AssignStmt); ok && len(set.Lhs) == 1 {
				if to, ok := set.Lhs[0].(*ast.Ident); ok && to.Name == x.Name {
					more := texts(fn, set.Rhs[0])
					if set.Tok == token.ADD_ASSIGN && len(all) > 0 && len(more) == 1 {
						more[0] = all[len(all)-1] + more[0]
					}
					all = append(all, more...)
				}
			}
			return true
		})
	}
	return all
}

// TestTroubleshooting_ExplainsEveryWarning: who searches the page for a line of the log
// finds it.
func TestTroubleshooting_ExplainsEveryWarning(t *testing.T) {
	var explained []string
	for _, row := range testdocs.Parse("", testdocs.Read(t, "docs/troubleshooting.md").Section("Log lines")).Rows() {
		explained = append(explained, strings.Trim(row[0], "`"))
	}
	said := warnings(t)
	for message, where := range said {
		if !slices.Contains(explained, message) {
			t.Errorf("%s logs %q, which docs/troubleshooting.md does not explain", where, message)
		}
	}
	for _, message := range explained {
		if said[message] == "" {
			t.Errorf("docs/troubleshooting.md explains %q, which nothing logs", message)
		}
	}
}

// TestTroubleshooting_QuotesTheCode: what people search the page for is what pushcart
// says. Numbers, names in capitals, paths and what follows a colon come from elsewhere.
func TestTroubleshooting_QuotesTheCode(t *testing.T) {
	var code strings.Builder
	eachFile(t, func(path string, src []byte, _ *token.FileSet, _ *ast.File) {
		if !strings.HasSuffix(path, "_test.go") {
			code.Write(src)
		}
	})
	said := warnings(t)
	varying := regexp.MustCompile(`[A-Z_]*_[A-Z_]+|\b\d+s?\b|/\S+|[:;] |…`)
	system := []string{"address already in use", "no such file or directory"}
	pieces := 0
	for _, row := range testdocs.Read(t, "docs/troubleshooting.md").Rows() {
		for _, quoted := range testdocs.Parse("", row[0]).Code() {
			if said[quoted.Text] != "" {
				continue // it may be joined of several strings
			}
			for _, piece := range varying.Split(quoted.Text, -1) {
				piece = strings.TrimSpace(piece)
				if strings.Count(piece, " ") < 2 || slices.Contains(system, piece) {
					continue
				}
				if pieces++; !strings.Contains(code.String(), piece) {
					t.Errorf("pushcart never says %q", piece)
				}
			}
		}
	}
	if pieces < 30 {
		t.Errorf("only %d quotations found", pieces)
	}
}
