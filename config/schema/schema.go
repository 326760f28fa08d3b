package schema

import (
	"bytes"
	_ "embed"
	"encoding"
	"encoding/json"
	"reflect"
	"time"

	"github.com/pushcart/pushcart/config"
)

// comments are those of the fields, as Type.Field; a program does not have them.
//
//go:embed comments.json
var comments []byte

// JSON is the schema, indented. It may be called concurrently.
func JSON() ([]byte, error) {
	known := map[string]string{}
	if err := json.Unmarshal(comments, &known); err != nil {
		return nil, err
	}
	return generate(known)
}

func generate(comments map[string]string) ([]byte, error) {
	m := maker{comments: comments, defaults: map[string]any{}, words: config.Words()}
	m.name(reflect.TypeOf(config.Default()))
	for _, e := range config.Entries(config.Default()) {
		m.defaults[e.Key] = e.Value
	}
	root := object{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"title", "pushcart.yaml"},
		{"description", "The configuration of pushcart."},
	}
	root = append(root, m.section(reflect.TypeOf(config.Default()), "")...)
	root = append(root, member{"$defs", kinds()})
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(root)
	return out.Bytes(), err
}

// maker makes the schemas of keys.
type maker struct {
	comments map[string]string
	defaults map[string]any
	words    map[string][]string
	keys     names
}

func (m *maker) section(t reflect.Type, prefix string) object {
	var keys object
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("yaml")
		s := m.value(f.Type, prefix+name)
		if text := m.keys.describe(m.comments[t.Name()+"."+f.Name], f.Name, name); text != "" {
			s = append(s, member{"description", text})
		}
		if d, ok := m.defaults[prefix+name]; ok {
			s = append(s, member{"default", d})
		}
		keys = append(keys, member{name, s})
	}
	return object{{"type", "object"}, {"additionalProperties", false}, {"properties", keys}}
}

var textual = reflect.TypeFor[encoding.TextMarshaler]()

func (m *maker) value(t reflect.Type, path string) object {
	switch {
	case t.Kind() == reflect.Slice:
		return object{{"type", []string{"array", "null"}}, {"items", m.value(t.Elem(), path)}}
	case t.Kind() == reflect.Struct && !t.Implements(textual):
		return m.section(t, path+".")
	}
	if words := m.words[path]; words != nil {
		return object{{"anyOf", []object{{{"enum", words}}, variable}}}
	}
	return object{{"$ref", "#/$defs/" + kind(t)}}
}

// kind names the schema of a scalar in $defs.
func kind(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "duration"
	case t == reflect.TypeFor[config.Size]():
		return "size"
	case t.Implements(textual):
		return "network"
	case t.Kind() == reflect.Bool:
		return "switch"
	case t.Kind() == reflect.Int:
		return "whole"
	case t.Kind() == reflect.Float64:
		return "number"
	}
	return "text"
}

// variable is a value that comes from the environment, as every scalar may.
var variable = object{{"type", "string"}, {"pattern", `\$\{`}}

// kinds are the schemas of scalars. What a key wants decides how its value is read,
// not its quotes: "5" is a number and 5 is a text.
func kinds() object {
	return object{
		{"duration", written("like 500ms, 10s, 1m or 1h30m", `[-+]?(0|(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)`, object{{"const", 0}})},
		{"size", written("like 64KiB, 1MiB, or a number of bytes", `\s*\+?[0-9]+\s*(KiB|MiB|GiB|B)?\s*`, object{{"type", "integer"}, {"minimum", 0}})},
		{"network", written("an address or a network, like 10.0.0.1 or 10.0.0.0/8", `[0-9A-Fa-f]*[.:][0-9A-Fa-f.:]*(%[^/]*)?(/[0-9]+)?`)},
		{"switch", written("true or false", `true|false`, object{{"type", "boolean"}})},
		{"whole", written("a whole number", `[-+]?[0-9]+`, object{{"type", "integer"}})},
		{"number", written("a number", `[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?`, object{{"type", "number"}})},
		{"text", object{{"type", []string{"string", "number", "boolean"}}}},
	}
}

// written is a scalar that fits plain, or is written as the pattern says, or comes
// from the environment.
func written(like, pattern string, plain ...object) object {
	forms := append(plain, object{{"type", "string"}, {"pattern", `^(` + pattern + `)$`}}, variable)
	return object{{"description", like}, {"anyOf", forms}}
}
