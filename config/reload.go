package config

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// live are the keys that change while the process runs, each with all below it
// (SPEC §2). Everything else needs a restart.
var live = []string{
	"tls", "trusted_proxies", "auth", "webhook", "limits", "shutdown", "log", "channels", "users",
	"backend.connect_timeout", "backend.response_timeout", "backend.idle_timeout",
	"client.head_timeout", "client.body_timeout", "client.send_timeout", "client.idle_timeout",
	"websocket.allowed_origins", "websocket.ping_interval", "websocket.pong_timeout", "websocket.handshake_timeout",
	"push.tokens", "push.hosts", "admin.tokens", "admin.hosts",
}

func isLive(key string) bool {
	return slices.ContainsFunc(live, func(l string) bool { return within(key, l) })
}

// Change is a key whose value differs between two configurations.
type Change struct {
	// Key is its path, like "limits.connections_per_ip".
	Key string `json:"key"`
	// From and To are its values as YAML has them. Both are "" where they are not
	// told: of secrets, and of files whose content changed.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// String is the change on one line.
func (c Change) String() string {
	if c.From == "" {
		return c.Key + ": changed"
	}
	return c.Key + ": " + c.From + " → " + c.To
}

// Reload is the result of applying a new configuration to a running one.
type Reload struct {
	// Config is what runs from now on.
	Config Config
	// Changed is what of the new configuration it has.
	Changed []Change
	// Restart is what it does not have.
	Restart []Change
}

// Reload takes from next the keys that may change at run time. Its error, of type
// Problems, says what is wrong with the combination: c may need what next omits.
func (c Config) Reload(next Config) (Reload, error) {
	r := Reload{Config: c}
	onOff := (c.TLS.CertFile == "") != (next.TLS.CertFile == "")
	eachKey(reflect.ValueOf(&r.Config).Elem(), reflect.ValueOf(next), "", func(key string, now, then reflect.Value) {
		change := Change{key, yamlText(now), yamlText(then)}
		if secret(now) {
			change = Change{Key: key}
		}
		if !isLive(key) || onOff && within(key, "tls") {
			r.Restart = append(r.Restart, change)
			return
		}
		r.Changed = append(r.Changed, change)
		now.Set(then)
	})
	var p Problems
	r.Config.check(&p)
	for i := range p {
		p[i].Message += "; " + untilRestart(r.Restart)
	}
	if len(p) > 0 {
		return Reload{}, p
	}
	return r, nil
}

func untilRestart(changes []Change) string {
	keys := make([]string, len(changes))
	for i, c := range changes {
		keys[i] = c.Key
	}
	return "restart the process: until then the new file's " + strings.Join(keys, ", ") + " cannot count"
}

// eachKey calls do for every key whose values differ.
func eachKey(now, then reflect.Value, path string, do func(key string, now, then reflect.Value)) {
	for i := range now.NumField() {
		key := strings.TrimPrefix(path+"."+now.Type().Field(i).Tag.Get("yaml"), ".")
		a, b := now.Field(i), then.Field(i)
		switch {
		case a.Kind() == reflect.Struct && !isText(a):
			eachKey(a, b, key, do)
		case !same(a, b):
			do(key, a, b)
		}
	}
}

func same(a, b reflect.Value) bool {
	if a.Kind() == reflect.Slice && a.Len()+b.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

// yamlText is a value as one line of YAML, without passwords, and short. It is never
// empty.
func yamlText(v reflect.Value) string {
	if v.Kind() == reflect.Slice {
		items := make([]string, v.Len())
		for i := range items {
			items[i] = yamlText(v.Index(i))
		}
		return short("[" + strings.Join(items, ", ") + "]")
	}
	if v.Kind() == reflect.Struct && v.CanAddr() && !isText(v) { // of a list
		var keys []string
		for i := range v.NumField() {
			keys = append(keys, v.Type().Field(i).Tag.Get("yaml")+": "+yamlText(v.Field(i)))
		}
		return short("{" + strings.Join(keys, ", ") + "}")
	}
	return cmp.Or(shown(fmt.Sprint(v.Interface())), `""`)
}
