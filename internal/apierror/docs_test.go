package apierror_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"

	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/testdocs"
)

// TestTroubleshooting_HasEveryErrorCode, with its status.
func TestTroubleshooting_HasEveryErrorCode(t *testing.T) {
	var listed, want []string
	section := testdocs.Read(t, "docs/troubleshooting.md").Section("Error codes")
	for _, row := range testdocs.Parse("", section).Rows() {
		listed = append(listed, row[0]+" "+row[1])
	}
	for _, code := range declaredCodes(t) {
		want = append(want, "`"+string(code)+"` "+strconv.Itoa(code.Status()))
	}
	slices.Sort(listed)
	slices.Sort(want)
	if !slices.Equal(listed, want) {
		t.Errorf("the page has\n%q, want\n%q", listed, want)
	}
}

// declaredCodes are the constants of type Code.
func declaredCodes(t *testing.T) (all []apierror.Code) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "apierror.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Code" {
				text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, apierror.Code(text))
			}
		}
		return true
	})
	return all
}
