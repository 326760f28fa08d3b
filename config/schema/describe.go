package schema

import (
	"reflect"
	"regexp"
	"strings"
)

// names are Go's names of fields and their keys, where a key has more than one word:
// other names could be plain English.
type names map[string]string

func (m *maker) name(t reflect.Type) {
	if m.keys == nil {
		m.keys = names{}
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if key := f.Tag.Get("yaml"); strings.Contains(key, "_") {
			m.keys[f.Name] = key
		}
		of := f.Type
		if of.Kind() == reflect.Slice {
			of = of.Elem()
		}
		if of.Kind() == reflect.Struct && !of.Implements(textual) {
			m.name(of)
		}
	}
}

var word = regexp.MustCompile(`[A-Za-z]+`)

// describe turns a field's comment into a key's description: Go's names become those
// of keys.
func (n names) describe(comment, field, key string) string {
	text := strings.Join(strings.Fields(comment), " ")
	if rest, ok := strings.CutPrefix(text, field+" "); ok {
		text = key + " " + rest
	}
	return word.ReplaceAllStringFunc(text, func(w string) string {
		if key := n[w]; key != "" {
			return key
		}
		return w
	})
}
