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

// TestMakefile_RunsWithoutTheRaceDetectorWhatDiffersThere: packages that read and
// write sockets through internal/sockio, and tests that look at race.Enabled or count
// allocations.
func TestMakefile_RunsWithoutTheRaceDetectorWhatDiffersThere(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`(?m)^WITHOUT_RACE := (.*)$`).FindSubmatch(makefile)
	if list == nil {
		t.Fatal("the Makefile has no WITHOUT_RACE")
	}
	differs := regexp.MustCompile(`internal/sockio"|race\.Enabled|testing\.AllocsPerRun|sidecartest\.OnceWithoutRace\(`)
	want := []string{"./internal/sockio"}
	eachFile(t, func(path string, src []byte, _ *token.FileSet, _ *ast.File) {
		dir := "./" + filepath.ToSlash(filepath.Dir(path))
		if differs.Match(src) && dir != "./internal/house" && !strings.HasPrefix(dir, "./bench") {
			want = append(want, dir)
		}
	})
	slices.Sort(want)
	want = slices.Compact(want)
	if got := strings.Fields(string(list[1])); !slices.Equal(got, want) {
		t.Errorf("WITHOUT_RACE is\n%q, want\n%q", got, want)
	}
}
