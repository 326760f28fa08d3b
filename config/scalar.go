package config

import (
	"encoding"
	"math"
	"net/netip"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// scalar reads one value. What it is follows from the key alone, not from quotes
// or how YAML would take it: a secret of digits is a secret all the same, and a
// number may come from the environment.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	if !strings.HasPrefix(n.Tag, "!!") || n.Tag == "!!binary" {
		d.unread(n, path, "has a YAML tag; a value that begins with ! must be in quotes")
		return
	}
	text, err := expand(n.Value, func(name string) (string, bool) {
		value, ok := d.env(name)
		if ok {
			at := d.at[path]
			at.env = append(at.env, name)
			d.at[path] = at
		}
		return value, ok
	})
	if err != nil {
		d.unread(n, path, "%v", err)
		return
	}
	d.text(text, v, path)
}

// text sets v; a value that cannot be read leaves the default there.
func (d *decoder) text(text string, v reflect.Value, path string) {
	wrong := func(want, meant string) {
		d.problems.addUnread(path, "want %s, got %q%s", want, text, hint(meant))
	}
	switch into := v.Addr().Interface().(type) {
	case *time.Duration:
		if parsed, err := time.ParseDuration(text); err == nil {
			*into = parsed
		} else if number.MatchString(text) {
			d.problems.addUnread(path, "%s has no unit: %[1]ss?", text)
		} else {
			wrong("a duration like 10s or 500ms", durationMeant(text))
		}
	case *Size:
		if parsed, err := ParseSize(text); err == nil {
			*into = parsed
		} else {
			wrong("a size like 64KiB", sizeMeant(text))
		}
	case *netip.Prefix:
		if parsed, err := parseNetwork(text); err == nil {
			*into = parsed
		} else {
			wrong("an address or a network, like 10.0.0.1 or 10.0.0.0/8", "")
		}
	case encoding.TextUnmarshaler:
		if err := into.UnmarshalText([]byte(text)); err != nil {
			d.problems.addUnread(path, "%v", err)
		}
	default:
		plain(text, v, wrong)
	}
}

// plain sets what has no other type.
func plain(text string, v reflect.Value, wrong func(want, meant string)) {
	switch v.Kind() {
	case reflect.Bool:
		if text != "true" && text != "false" {
			wrong("true or false", truths[strings.ToLower(text)])
			return
		}
		v.SetBool(text == "true")
	case reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			wrong("a whole number", "")
			return
		}
		v.SetInt(int64(n))
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			wrong("a number", "")
			return
		}
		v.SetFloat(f)
	default:
		v.SetString(text)
	}
}

var truths = map[string]string{
	"yes": "true", "on": "true", "y": "true", "1": "true", "true": "true",
	"no": "false", "off": "false", "n": "false", "0": "false", "false": "false",
}

var (
	number         = regexp.MustCompile(`^\d+(\.\d+)?$`)
	numberWithUnit = regexp.MustCompile(`^(\d+)\s*([A-Za-z]+)$`)
)

// durationMeant guesses what a duration with another spelling of its unit means.
func durationMeant(text string) string {
	m := numberWithUnit.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	unit := strings.ToLower(m[2])
	if len(unit) > 2 {
		unit = strings.TrimSuffix(unit, "s")
	}
	switch unit {
	case "ms", "msec", "milli", "millisecond":
		return m[1] + "ms"
	case "s", "sec", "second":
		return m[1] + "s"
	case "m", "min", "minute":
		return m[1] + "m"
	case "h", "hr", "hour":
		return m[1] + "h"
	case "d", "day":
		if days, err := strconv.ParseInt(m[1], 10, 32); err == nil {
			return strconv.FormatInt(days*24, 10) + "h"
		}
	}
	return ""
}

// sizeMeant guesses what a size with another spelling of its unit means.
func sizeMeant(text string) string {
	m := numberWithUnit.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	switch unit := strings.ToUpper(m[2]); unit {
	case "B", "BYTE", "BYTES":
		return m[1] + "B"
	case "K", "KB", "KIB", "M", "MB", "MIB", "G", "GB", "GIB":
		return m[1] + unit[:1] + "iB"
	}
	return ""
}

// parseNetwork reads a network, or one address as the network of that host. An
// IPv4 address is the same in its IPv6 form.
func parseNetwork(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return netip.Prefix{}, err
		}
		addr = addr.WithZone("").Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err == nil && p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p, err
}
