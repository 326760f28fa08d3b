package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/pushcart/pushcart/internal/nearest"
)

// meant suggests the key that was probably meant: one of the section with a name
// like it, or one of the same name in another section.
func meant(key, section string, known map[string]reflect.Value) string {
	if key == "<<" {
		return "; YAML's merge keys are not supported here"
	}
	if name := otherNames[strings.TrimPrefix(section+"."+key, ".")]; name != "" {
		return fmt.Sprintf("; did you mean %s?", name)
	}
	if best := nearest.Word(key, slices.Collect(maps.Keys(known))); best != "" {
		return fmt.Sprintf("; did you mean %s?", best)
	}
	var elsewhere []string
	for _, path := range keysOf(reflect.TypeFor[Config](), "") {
		if strings.HasSuffix("."+path, "."+key) {
			elsewhere = append(elsewhere, path)
		}
	}
	switch len(elsewhere) {
	case 0:
		return ""
	case 1, 2, 3:
		return fmt.Sprintf("; did you mean %s? Look at the indentation", strings.Join(elsewhere, " or "))
	}
	return fmt.Sprintf("; sections that have it: %s. Look at the indentation", strings.Join(elsewhere, ", "))
}

// otherNames are what other programs call a key.
var otherNames = map[string]string{
	"port": "listen", "redis.url": "addresses", "redis.host": "addresses", "redis.db": "database", "redis.user": "username",
	"auth.jwt.key": "secret", "backend.host": "url", "backend.address": "url",
}

// keysOf are the paths of all keys and sections, in the order of the structs.
func keysOf(t reflect.Type, prefix string) (out []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		path := prefix + f.Tag.Get("yaml")
		out = append(out, path)
		if f.Type.Kind() == reflect.Struct {
			out = append(out, keysOf(f.Type, path+".")...)
		}
	}
	return out
}
