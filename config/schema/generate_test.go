package schema

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write comments.json and ../../pushcart.schema.json")

const stale = "%s is not what the structs say; rewrite it: go test ./config/schema -update"

// committed is what editors read.
const committed = "../../pushcart.schema.json"

func TestSchema_WhatIsCommittedIsMadeFromTheStructs(t *testing.T) {
	found := fieldComments(t)
	list, err := json.MarshalIndent(found, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	made, err := generate(found)
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string][]byte{"comments.json": append(list, '\n'), committed: made} {
		if *update {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
			t.Errorf(stale, file)
		}
	}
	if *update {
		t.Skip("written; run the tests again without -update")
	}
	if printed, err := JSON(); err != nil || !bytes.Equal(printed, made) {
		t.Errorf("what is printed differs: %v", err)
	}
}

// fieldComments reads the comments of the structs of package config.
func fieldComments(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../*.go")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if def, ok := n.(*ast.TypeSpec); ok {
				if s, ok := def.Type.(*ast.StructType); ok {
					ofStruct(out, def.Name.Name, s)
				}
			}
			return true
		})
	}
	return out
}

// ofStruct notes the comments of the fields that are keys.
func ofStruct(out map[string]string, name string, s *ast.StructType) {
	for _, f := range s.Fields.List {
		if f.Tag != nil && strings.Contains(f.Tag.Value, `yaml:"`) && f.Doc != nil {
			out[name+"."+f.Names[0].Name] = strings.TrimSpace(f.Doc.Text())
		}
	}
}
