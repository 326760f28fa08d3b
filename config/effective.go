package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Entry is one key with its value, in a form that may be printed.
type Entry struct {
	// Key is its path, like "websocket.pong_timeout".
	Key string `json:"key"`
	// Value is a string, a bool, a number, or a list of them: durations and sizes as
	// they are written, secrets and passwords hidden.
	Value any `json:"value"`
	// From is where the value was set: "pushcart.yaml:12", with ", env NAME" where it
	// has a variable, "--backend", or "default". Entries leaves it empty.
	From string `json:"from,omitempty"`
}

// Entries are all keys of c in the order of the structs.
func Entries(c Config) []Entry { return entries(reflect.ValueOf(c), "") }

// Effective returns what Load makes of a source, key by key, with the place that each
// value came from. Its error is Problems.
func Effective(s Source) ([]Entry, error) {
	d, c, err := s.load()
	if err != nil {
		return nil, err
	}
	all := Entries(c)
	named := map[string]any{} // what finish takes out of c when it read the files
	for _, e := range Entries(d.decoded) {
		named[e.Key] = e.Value
	}
	for i := range all {
		e := &all[i]
		if strings.HasSuffix(e.Key, "_file") {
			e.Value = named[e.Key]
		}
		e.From = d.origin(e.Key)
	}
	return all, nil
}

// origin says where the value of a key came from.
func (d *decoder) origin(path string) string {
	from := "default"
	var env []string
	for _, key := range []string{path, path + "_file"} {
		at, ok := d.at[key]
		switch {
		case ok && from == "default":
			from = d.spell(at)
		case ok:
			from += " and " + d.spell(at)
		}
		env = append(env, at.env...)
		for i := 0; ok; i++ { // the items of a list
			at, ok = d.at[item(key, i)]
			env = append(env, at.env...)
		}
	}
	for _, name := range env {
		from += ", env " + name
	}
	return from
}

// spell is a place as it is printed.
func (d *decoder) spell(at place) string {
	if at.flag != "" {
		return at.flag
	}
	return fmt.Sprintf("%s:%d", d.file, at.line)
}

func entries(section reflect.Value, prefix string) (out []Entry) {
	for i := range section.NumField() {
		v := section.Field(i)
		path := prefix + section.Type().Field(i).Tag.Get("yaml")
		if v.Kind() == reflect.Struct && !marshals(v) {
			out = append(out, entries(v, path+".")...)
		} else {
			out = append(out, Entry{Key: path, Value: printable(v)})
		}
	}
	return out
}

func marshals(v reflect.Value) bool {
	_, ok := v.Interface().(encoding.TextMarshaler)
	return ok
}

// printable is a value without what must not be seen.
func printable(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case time.Duration:
		return durationText(x)
	case Size, Secret:
		return fmt.Sprint(x)
	case encoding.TextMarshaler: // those of Config never fail
		b, _ := x.MarshalText()
		return string(b)
	}
	switch v.Kind() {
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = printable(v.Index(i))
		}
		return list
	case reflect.Struct:
		keys := map[string]any{}
		for name, field := range fields(v) {
			keys[name] = printable(field)
		}
		return keys
	case reflect.String:
		return Redact(v.String())
	}
	return v.Interface()
}

// durationText is a duration as one writes it: 1m rather than 1m0s.
func durationText(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}
