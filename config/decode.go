package config

import (
	"encoding"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"
)

// later are keys of the specification that this version does not have yet. To ask
// for one gets its own error, so that nobody takes it for a typing mistake.
var later = map[string]bool{
	"sse": true, "admin.payloads": true,
}

// index is the place of an item in a list of sections.
var index = regexp.MustCompile(`\[\d+\]`)

// decoder walks the document and the structs side by side, so that every problem
// has its path and place, and all are found at once.
type decoder struct {
	file     string
	env      Env
	problems Problems
	at       map[string]place // where a key was set
	broken   bool             // the file is not YAML; there is nothing to judge
	decoded  Config           // before the files that it names were read
}

// place is a line of the file, with the variables of its value, or a flag.
type place struct {
	line int
	env  []string
	flag string
}

func (d *decoder) into(n *yaml.Node, into *Config) {
	d.value(n, reflect.ValueOf(into).Elem(), "")
}

// flag sets one key from the command line.
func (d *decoder) flag(f Flag, into *Config) {
	v := reflect.ValueOf(into).Elem()
	for name := range strings.SplitSeq(f.Key, ".") {
		v = fields(v)[name]
	}
	d.at[f.Key] = place{flag: f.Name}
	d.text(f.Value, v, f.Key)
}

// locate gives each problem the place of its key, or of the section it is missing
// in.
func (d *decoder) locate() {
	for i := range d.problems {
		p := &d.problems[i]
		at := d.find(p.Path)
		if p.line == 0 {
			p.line = at.line
		}
		switch {
		case at.flag != "":
			p.Where = at.flag
		case p.line > 0 && d.file != "":
			p.Where = fmt.Sprintf("%s:%d", d.file, p.line)
		default:
			p.Where = d.file
		}
	}
	d.problems.sort()
}

func (d *decoder) find(path string) place {
	for path != "" {
		for _, key := range []string{path, path + "_file"} {
			if at, ok := d.at[key]; ok {
				return at
			}
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return place{}
}

func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case n.Tag == "!!null" && v.Kind() != reflect.Slice && path != "":
		d.empty(n, v, path)
	case v.Kind() == reflect.Struct && !isText(v):
		d.section(n, v, path)
	case v.Kind() == reflect.Slice:
		d.list(n, v, path)
	case n.Kind != yaml.ScalarNode:
		d.unread(n, path, "want one value, got %s%s", kindName(n, v), soleItem(n, v))
	default:
		d.scalar(n, v, path)
	}
}

func (d *decoder) empty(n *yaml.Node, v reflect.Value, path string) {
	if v.Kind() == reflect.Struct && !isText(v) {
		d.unread(n, path, "is empty; indent its keys below it, or leave it out")
		return
	}
	d.unread(n, path, `is empty; leave the key out for its default, or write "" for nothing`)
}

// unread notes that the value n of path could not be read.
func (d *decoder) unread(n *yaml.Node, path, format string, args ...any) {
	d.problems.addUnread(path, format, args...)
	d.problems[len(d.problems)-1].line = n.Line
}

func isText(v reflect.Value) bool {
	_, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
	return ok
}

// fields are a section's keys.
func fields(v reflect.Value) map[string]reflect.Value {
	out := map[string]reflect.Value{}
	for i := range v.NumField() {
		out[v.Type().Field(i).Tag.Get("yaml")] = v.Field(i)
	}
	return out
}

func (d *decoder) section(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		if n.Tag != "!!null" && !d.glued(n, path) {
			d.unread(n, path, "want keys and values, got %s", kindName(n, v))
		}
		return
	}
	known := fields(v)
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, line := n.Content[i].Value, n.Content[i].Line
		full := strings.TrimPrefix(path+"."+key, ".")
		field, ok := known[key]
		switch first, again := seen[key]; {
		case again:
			d.problems = append(d.problems, Problem{Path: full, Message: fmt.Sprintf("is already set in line %d; join the two", first), line: line})
			continue
		case ok:
			d.at[full] = place{line: line}
			d.value(n.Content[i+1], field, full)
		case later[index.ReplaceAllString(full, "[]")]:
			d.at[full] = place{line: line}
			d.problems.add(full, "is not available in this version")
		case d.glued(n.Content[i], path):
		default:
			d.at[full] = place{line: line}
			d.problems.add(full, "unknown key%s", meant(key, path, known))
		}
		seen[key] = line
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Tag == "!!null" {
		v.SetZero()
		return
	}
	if n.Kind != yaml.SequenceNode {
		hint := ""
		if n.Kind == yaml.ScalarNode && !secret(v) {
			hint = fmt.Sprintf("; write [%q]", shown(n.Value))
		}
		d.unread(n, path, "want a list, got %s%s", kindName(n, v), hint)
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, one := range n.Content {
		d.at[item(path, i)] = place{line: one.Line}
		if s, ok := out.Index(i).Addr().Interface().(interface{ setDefaults() }); ok {
			s.setDefaults()
		}
		d.value(one, out.Index(i), item(path, i))
	}
	v.Set(out)
}

// secret says whether v is a secret, or a list of them: its text is not printed.
func secret(v reflect.Value) bool {
	t := v.Type()
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t == reflect.TypeFor[Secret]()
}

func kindName(n *yaml.Node, v reflect.Value) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "keys and values"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case secret(v):
		return "one value"
	}
	return fmt.Sprintf("%q", shown(n.Value))
}

// soleItem says what to write where a list of one stands for a value.
func soleItem(n *yaml.Node, v reflect.Value) string {
	if n.Kind == yaml.SequenceNode && len(n.Content) == 1 && n.Content[0].Kind == yaml.ScalarNode && !secret(v) {
		return fmt.Sprintf("; write %q without the brackets or dash", shown(n.Content[0].Value))
	}
	return ""
}

// glued says so where n is "key:value", which YAML takes for one word. The value may
// be a secret, so it is not repeated.
func (d *decoder) glued(n *yaml.Node, path string) bool {
	key, _, ok := strings.Cut(n.Value, ":")
	if n.Kind != yaml.ScalarNode || !ok {
		return false
	}
	d.unread(n, strings.TrimPrefix(path+"."+key, "."), "a key needs a space after its colon")
	return true
}
