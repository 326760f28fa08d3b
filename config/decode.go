package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// later are keys of the specification that this version does not have yet. To ask
// for one is an error of its own, so that nobody takes it for a typing mistake.
var later = map[string]bool{
	"channels": true, "users": true,
	"webhook.format": true, "webhook.breaker": true, "webhook.on_error.subscribe": true, "webhook.on_error.publish": true,
	"redis.mode": true, "redis.master_name": true, "redis.sentinel_username": true, "redis.sentinel_password": true,
	"redis.sentinel_password_file": true,
}

// decodeInto walks the document and the structs side by side, so that every
// problem has its path and all are found at once.
func decodeInto(n *yaml.Node, into any, problems *Problems) {
	decodeValue(n, reflect.ValueOf(into).Elem(), "", problems)
}

func decodeValue(n *yaml.Node, v reflect.Value, path string, problems *Problems) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch {
	case n.Tag == "!!null" && v.Kind() != reflect.Slice && path != "":
		problems.add(path, "is empty; leave the key out for its default")
	case v.Kind() == reflect.Struct && !isText(v):
		decodeStruct(n, v, path, problems)
	case v.Kind() == reflect.Slice:
		decodeList(n, v, path, problems)
	default:
		decodeScalar(n, v, path, problems)
	}
}

func isText(v reflect.Value) bool {
	_, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
	return ok
}

func decodeStruct(n *yaml.Node, v reflect.Value, path string, problems *Problems) {
	if n.Kind != yaml.MappingNode {
		if n.Tag != "!!null" {
			problems.add(path, "want keys and values, got %s", kindName(n))
		}
		return
	}
	fields := map[string]reflect.Value{}
	for i := range v.NumField() {
		fields[v.Type().Field(i).Tag.Get("yaml")] = v.Field(i)
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		full := strings.TrimPrefix(path+"."+key, ".")
		field, ok := fields[key]
		switch {
		case seen[key]:
			problems.add(full, "is there twice (line %d)", n.Content[i].Line)
		case ok:
			decodeValue(n.Content[i+1], field, full, problems)
		case later[full]:
			problems.add(full, "is not available in this version")
		default:
			problems.add(full, "unknown key (line %d)%s", n.Content[i].Line, meant(key, fields))
		}
		seen[key] = true
	}
}

// meant suggests the key that was probably meant.
func meant(key string, fields map[string]reflect.Value) string {
	best, at := "", 3
	for name := range fields {
		if d := distance(key, name); d < at || d == at && best != "" && name < best {
			best, at = name, d
		}
	}
	if best == "" || at >= len(best) {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// distance counts the letters to insert, delete, replace or swap with their
// neighbour (optimal string alignment).
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 0
			if a[i] != b[j] {
				cost = 1
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

func decodeList(n *yaml.Node, v reflect.Value, path string, problems *Problems) {
	if n.Tag == "!!null" {
		v.SetZero()
		return
	}
	if n.Kind != yaml.SequenceNode {
		problems.add(path, "want a list, got %s", kindName(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		decodeValue(item, out.Index(i), fmt.Sprintf("%s[%d]", path, i), problems)
	}
	v.Set(out)
}

func decodeScalar(n *yaml.Node, v reflect.Value, path string, problems *Problems) {
	if n.Kind != yaml.ScalarNode {
		problems.add(path, "want one value, got %s", kindName(n))
		return
	}
	switch into := v.Addr().Interface().(type) {
	case *time.Duration:
		d, err := time.ParseDuration(n.Value)
		if err != nil {
			problems.add(path, "want a duration like 10s or 500ms, got %q", n.Value)
		}
		*into = d
	case *Size:
		s, err := ParseSize(n.Value)
		if err != nil {
			problems.add(path, "%v", err)
		}
		*into = s
	case encoding.TextUnmarshaler:
		if err := into.UnmarshalText([]byte(n.Value)); err != nil {
			problems.add(path, "%s", strings.TrimPrefix(err.Error(), "netip.ParsePrefix"))
		}
	default:
		if v.Kind() == reflect.String && (n.Tag == "!!str" || n.Tag == "!!int" || n.Tag == "!!float") {
			v.SetString(n.Value) // a secret of digits is a secret all the same
			return
		}
		if err := n.Decode(into); err != nil {
			problems.add(path, "want %s, got %q", wanted(v), n.Value)
		}
	}
}

func wanted(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	}
	return "text"
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys and values"
	case yaml.SequenceNode:
		return "a list"
	}
	return fmt.Sprintf("%q", n.Value)
}
