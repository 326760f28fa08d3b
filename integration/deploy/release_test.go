package deploy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pushcart/pushcart/internal/testkit"
)

const version = "v1.2.3-rc.1"

// release is what make release built, for one system.
type release struct {
	folder string
	binary string // of the archive
}

// built is a release under way.
type built struct {
	done chan struct{} // closed at its end
	release
	err error
}

// builds are all under way; TestMain waits for them.
var builds sync.WaitGroup

func begin(folder, umask, zone string) *built {
	b := &built{done: make(chan struct{})}
	builds.Go(func() {
		defer close(b.done)
		b.release, b.err = buildRelease(filepath.Join(scratch, folder), umask, zone)
	})
	return b
}

// released builds it twice, each from a copy of the sources in a folder of its own and
// in other surroundings. The first is there when it returns.
var released = sync.OnceValue(func() (of [2]*built) {
	of[0] = begin("a", "022", "UTC")
	<-of[0].done
	of[1] = begin("another/and deeper", "077", "Asia/Tokyo")
	return of
})

// scratch is a folder for the whole run.
var scratch string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if scratch, err = os.MkdirTemp("", "pushcart-deploy"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(scratch)
		code := m.Run()
		builds.Wait()
		return code
	}())
}

func buildRelease(folder, umask, zone string) (release, error) {
	if err := copySources(filepath.Join(folder, "src"), umask); err != nil {
		return release{}, err
	}
	r := release{folder: filepath.Join(folder, "dist")}
	cmd := exec.Command("sh", "-c", "umask "+umask+` && exec sh scripts/release.sh "$@"`, "sh", r.folder, "linux/"+runtime.GOARCH)
	cmd.Dir = filepath.Join(folder, "src")
	cmd.Env = append(os.Environ(), "VERSION="+version, "COMMIT=abc1234", "SOURCE_DATE_EPOCH=1790000000", "TZ="+zone)
	if out, err := cmd.CombinedOutput(); err != nil {
		return release{}, fmt.Errorf("release: %w\n%s", err, out)
	}
	archive := "pushcart_" + version + "_linux_" + runtime.GOARCH
	if out, err := exec.Command("tar", "-C", folder, "-xzf", filepath.Join(r.folder, archive+".tar.gz")).CombinedOutput(); err != nil {
		return release{}, fmt.Errorf("unpack: %w\n%s", err, out)
	}
	r.binary = filepath.Join(folder, archive, "pushcart")
	return r, nil
}

// copySources copies what git knows or would add; there is no history in the copy.
func copySources(to, umask string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	script := "umask " + umask + ` && git ls-files -z --cached --others --exclude-standard --deduplicate | tar --null --files-from=- --ignore-failed-read -cf - | tar --no-same-permissions -C "$1" -xf -`
	cmd := exec.Command("sh", "-c", script, "sh", to)
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("copy the sources: %w\n%s", err, out)
	}
	return nil
}

// theRelease is the first of the two.
func theRelease(t *testing.T) release {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("releases are made on Linux: GNU tar")
	}
	first := released()[0]
	if first.err != nil && !haveTools() {
		testkit.Missing(t, "the tools of make release; see scripts/tools.sh")
	}
	if first.err != nil {
		t.Fatal(first.err)
	}
	return first.release
}

func haveTools() bool {
	cmd := exec.Command("sh", "scripts/release.sh", "--tools")
	cmd.Dir = "../.."
	return cmd.Run() == nil
}

func TestRelease_TwoBuildsInTwoFoldersAreTheSameBytes(t *testing.T) {
	t.Parallel()
	one := theRelease(t)
	other := released()[1]
	<-other.done
	if other.err != nil {
		t.Fatal(other.err)
	}
	first, second := contents(t, one.folder), contents(t, other.folder)
	if len(first) != 4 {
		t.Errorf("it consists of %q, want archive, SBOM, package and checksums", names(first))
	}
	for name, b := range first {
		if !bytes.Equal(b, second[name]) {
			t.Errorf("%s differs: %d and %d bytes", name, len(b), len(second[name]))
		}
	}
	if len(first) != len(second) {
		t.Errorf("%q and %q", names(first), names(second))
	}
}

func contents(t *testing.T, folder string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, e := range entries {
		if out[e.Name()], err = os.ReadFile(filepath.Join(folder, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func names[V any](of map[string]V) (out []string) {
	for name := range of {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func TestRelease_ChecksumsAreOfAllFiles(t *testing.T) {
	files := contents(t, theRelease(t).folder)
	var want strings.Builder
	for _, name := range names(files) {
		if name != "SHA256SUMS" {
			fmt.Fprintf(&want, "%x  %s\n", sha256.Sum256(files[name]), name)
		}
	}
	if got := string(files["SHA256SUMS"]); got != want.String() {
		t.Errorf("got\n%swant\n%s", got, want.String())
	}
}

func TestRelease_BinaryIsStaticAndSaysWhatItIs(t *testing.T) {
	r := theRelease(t)
	f, err := elf.Open(r.binary)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("it has a %v segment", p.Type)
		}
	}
	out, err := exec.Command(r.binary, "version").Output()
	if want := "pushcart " + version + " (abc1234) " + runtime.Version() + "\n"; err != nil || string(out) != want {
		t.Errorf("%v: got %q, want %q", err, out, want)
	}
	b, err := os.ReadFile(r.binary)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte(scratch)) {
		t.Error("it has the folder that it was built in")
	}
}

func TestRelease_ArchiveIsWhatItsReaderNeeds(t *testing.T) {
	r := theRelease(t)
	name := "pushcart_" + version + "_linux_" + runtime.GOARCH
	f, err := os.Open(filepath.Join(r.folder, name+".tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for archive := tar.NewReader(z); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		path, ok := strings.CutPrefix(h.Name, name+"/")
		found[path] = true
		if !ok || h.Uid != 0 || h.Gid != 0 || h.Mode&0o022 != 0 || h.Mode&0o444 != 0o444 {
			t.Errorf("%s belongs to %d:%d, mode %o", h.Name, h.Uid, h.Gid, h.Mode)
		}
		if executable := h.Mode&0o111 != 0; path == "pushcart" && !executable || strings.HasSuffix(path, ".yaml") && executable {
			t.Errorf("%s has mode %o", path, h.Mode)
		}
	}
	for _, want := range []string{
		"pushcart", "pushcart.js", "pushcart.schema.json", "config.example.yaml", "LICENSE", "THIRD-PARTY-LICENSES", "CHANGELOG.md",
		"completions/pushcart.bash", "completions/_pushcart", "completions/pushcart.fish", "docs/deploy.md",
		"deploy/systemd/pushcart.service", "deploy/sysctl/90-pushcart.conf", "deploy/kubernetes/pushcart.yaml", "deploy/prometheus/alerts.yml",
	} {
		if !found[want] {
			t.Errorf("%s is missing", want)
		}
	}
}

// The SBOM and the licenses name what the binary says it was linked from, no more and
// no less.
func TestRelease_SBOMAndLicensesNameEveryModule(t *testing.T) {
	r := theRelease(t)
	info, err := buildinfo.ReadFile(r.binary)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, m := range info.Deps {
		want = append(want, m.Path+" "+m.Version)
	}
	b, err := os.ReadFile(filepath.Join(r.folder, "pushcart_"+version+"_linux_"+runtime.GOARCH+".sbom.json"))
	if err != nil {
		t.Fatal(err)
	}
	var sbom struct {
		BOMFormat, SpecVersion string
		Metadata               struct{ Component component }
		Components             []component
	}
	if err := json.Unmarshal(b, &sbom); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range sbom.Components {
		got = append(got, c.Name+" "+c.Version)
		if len(c.Licenses) == 0 {
			t.Errorf("%s has no license", c.Name)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if main := sbom.Metadata.Component; sbom.BOMFormat != "CycloneDX" || main.Version != version || len(want) < 10 || !slices.Equal(got, want) {
		t.Errorf("%s of %s %s:\n%q\nwant\n%q", sbom.BOMFormat, main.Name, main.Version, got, want)
	}
	texts, err := os.ReadFile(filepath.Join(filepath.Dir(r.binary), "THIRD-PARTY-LICENSES"))
	if err != nil {
		t.Fatal(err)
	}
	parts := regexp.MustCompile(`(?m)^==== (.*) ====$`).Split(string(texts), -1)
	if len(parts) != len(want)+2 { // our own before, Go's last
		t.Errorf("%d licenses for %d modules", len(parts), len(want))
	}
	for i, part := range parts {
		if !strings.Contains(strings.ToLower(part), "copyright") {
			t.Errorf("license %d: %q", i, part)
		}
	}
}

type component struct {
	Name, Version string
	Licenses      []any
}
