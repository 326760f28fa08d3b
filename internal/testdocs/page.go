package testdocs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Page is a Markdown file. It never changes once it was read.
type Page struct {
	// Name is its path from the root of the repository, with slashes.
	Name string
	// Text is the whole file.
	Text string
	// Blocks are its fenced blocks, in their order.
	Blocks []Block
	// prose is Text with blocks blanked out, line by line.
	prose []string
}

// Pages are all Markdown files of the repository, in the order of their names.
func Pages(t testing.TB) []Page {
	t.Helper()
	root := Root(t)
	var pages []Page
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git" || d.Name() == "vendor"):
			return filepath.SkipDir
		case !d.IsDir() && strings.HasSuffix(path, ".md"):
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, path)
			pages = append(pages, Parse(filepath.ToSlash(rel), string(text)))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) < 15 {
		t.Fatalf("only %d pages found", len(pages))
	}
	return pages
}

// Read is one page.
func Read(t testing.TB, name string) Page {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(Root(t), filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return Parse(name, string(text))
}

// Root is the directory of the repository: the nearest one above with a go.mod.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above")
		}
		dir = up
	}
}

// Parse reads the text of a page.
func Parse(name, text string) Page {
	p := Page{Name: name, Text: text}
	var open *Block
	fence := regexp.MustCompile("^( *)```(.*)$")
	for i, line := range strings.Split(text, "\n") {
		m := fence.FindStringSubmatch(line)
		switch {
		case open == nil && m == nil:
			p.prose = append(p.prose, line)
			continue
		case open == nil:
			language, info, _ := strings.Cut(strings.TrimSpace(m[2]), " ")
			open = &Block{Page: name, Line: i + 1, Language: language, Info: strings.TrimSpace(info), indent: m[1]}
		case m != nil && strings.TrimSpace(m[2]) == "":
			p.Blocks = append(p.Blocks, *open)
			open = nil
		default:
			open.Text += strings.TrimPrefix(line, open.indent) + "\n"
		}
		p.prose = append(p.prose, "")
	}
	return p
}

// Span is something within a line.
type Span struct {
	Line int
	Text string
}

var code = regexp.MustCompile("``(.+?)``|`([^`]+)`")

// Code is what stands in backticks outside of blocks. Where a page compares pushcart with
// another product, the first column of a table is theirs and left out.
func (p Page) Code() (all []Span) {
	compares := strings.HasPrefix(p.Name, "docs/coming-from/")
	for i, line := range p.prose {
		if compares && strings.HasPrefix(line, "| ") {
			_, line, _ = strings.Cut(line[2:], " | ")
		}
		for _, m := range code.FindAllStringSubmatch(line, -1) {
			// A pipe within the cell of a table is written \|.
			all = append(all, Span{i + 1, strings.ReplaceAll(strings.TrimSpace(m[1]+m[2]), `\|`, "|")})
		}
	}
	return all
}

var link = regexp.MustCompile(`\]\(([^()\s]+)\)`)

// Links are the targets of its links.
func (p Page) Links() (all []Span) {
	for i, line := range p.prose {
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(line, ""), -1) {
			all = append(all, Span{i + 1, m[1]})
		}
	}
	return all
}

// Rows are the rows of its tables without their heads: the cells as they are written.
func (p Page) Rows() (rows [][]string) {
	ruled := regexp.MustCompile(`^\|[ :|-]+\|$`)
	for i, line := range p.prose {
		head := i+1 < len(p.prose) && ruled.MatchString(p.prose[i+1])
		if !strings.HasPrefix(line, "|") || ruled.MatchString(line) || head {
			continue
		}
		cells := strings.Split(strings.ReplaceAll(strings.Trim(line, "|"), `\|`, "\x00"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(strings.ReplaceAll(cells[i], "\x00", "|"))
		}
		rows = append(rows, cells)
	}
	return rows
}

// Section is the text below a heading, up to the next one that is not below it; "" if
// there is no such heading.
func (p Page) Section(title string) string {
	level := 0
	var out strings.Builder
	lines := strings.Split(p.Text, "\n")
	for i, line := range p.prose {
		depth := len(line) - len(strings.TrimLeft(line, "#"))
		if depth > 0 && level > 0 && depth <= level {
			break
		}
		if level > 0 {
			out.WriteString(lines[i] + "\n")
		}
		if depth > 0 && strings.TrimSpace(line[depth:]) == title {
			level = depth
		}
	}
	return out.String()
}

// Anchors are what links may have behind #: GitHub's names of its headings.
func (p Page) Anchors() (all []string) {
	for _, line := range p.prose {
		if !strings.HasPrefix(line, "#") {
			continue
		}
		title := strings.TrimSpace(strings.TrimLeft(line, "#"))
		title = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(title, "$1")
		slug := strings.ReplaceAll(strings.ToLower(title), " ", "-")
		slug = regexp.MustCompile(`[^\p{L}\p{N}_-]`).ReplaceAllString(slug, "")
		name := slug
		for n := 1; slices.Contains(all, name); n++ {
			name = slug + "-" + string(rune('0'+n))
		}
		all = append(all, name)
	}
	return all
}
