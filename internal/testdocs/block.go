package testdocs

import (
	"fmt"
	"strings"
)

// Block is a fenced block.
type Block struct {
	Page     string
	Line     int    // of its opening fence
	Language string // the first word behind the fence
	Info     string // what follows that
	Text     string

	indent string
}

// Where says where it is.
func (b Block) Where() string { return fmt.Sprintf("%s:%d", b.Page, b.Line) }

// Unused is why no test uses it; "" if tests do.
func (b Block) Unused() string {
	reason, _ := strings.CutPrefix(b.Info, "norun:")
	if reason == b.Info {
		return ""
	}
	return strings.TrimSpace(reason)
}

// Commands says whether it is one that a reader types.
func (b Block) Commands() bool { return b.Language == "sh" || b.Language == "console" }

// File is the name under which a reader is to save it; "" if it has none.
func (b Block) File() string {
	if b.Unused() != "" || b.Commands() || strings.ContainsAny(b.Info, " :=") || !strings.Contains(b.Info, ".") {
		return ""
	}
	return b.Info
}

// Option is the value of name=value behind its language; a value with spaces is in
// double quotes.
func (b Block) Option(name string) string {
	_, rest, ok := strings.Cut(" "+b.Info, " "+name+"=")
	if !ok {
		return ""
	}
	if quoted, ok := strings.CutPrefix(rest, `"`); ok {
		value, _, _ := strings.Cut(quoted, `"`)
		return value
	}
	value, _, _ := strings.Cut(rest, " ")
	return value
}
