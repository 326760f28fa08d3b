package config

import (
	"reflect"
	"regexp"
)

// Words returns the keys whose value, or each item of whose list, is one of a few words,
// with these words. A key within a list of sections is written without an index. It gets
// the words from the checks themselves, by passing values that are not allowed.
func Words() map[string][]string {
	c := Default()
	misspell(reflect.ValueOf(&c).Elem())
	var p Problems
	c.check(&p)
	words := map[string][]string{}
	for _, one := range p {
		if one.words != nil {
			words[itemIndex.ReplaceAllString(one.Path, "")] = one.words
		}
	}
	return words
}

var itemIndex = regexp.MustCompile(`\[\d+\]`)

// misspell makes every text, and an item of every list, a word that nothing is.
func misspell(v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[string]():
		v.SetString("no such word")
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		misspell(v.Index(0))
	case v.Kind() == reflect.Struct && !isText(v):
		for i := range v.NumField() {
			misspell(v.Field(i))
		}
	}
}
