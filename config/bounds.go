package config

import (
	"math"
	"reflect"
	"strings"
	"time"
)

// What values may be at most. Beyond them sums and products of them would wrap, and
// nobody means them: whoever wants no limit leaves it to 0 where that is one.
const (
	maxDuration = 10 * 365 * 24 * time.Hour
	maxSize     = 1 << 50
	maxNumber   = math.MaxInt32
	// maxHeld is for what one message or body may take in memory at once.
	maxHeld = GiB
)

// checkBounds looks at every duration, size and number of the tree, so that a new
// one cannot be forgotten.
func (c *Config) checkBounds(p *Problems) {
	bound(p, "", reflect.ValueOf(c).Elem())
	for _, held := range []struct {
		path string
		size Size
	}{
		{"websocket.max_message_size", c.WebSocket.MaxMessageSize}, {"websocket.outbox.bytes", c.WebSocket.Outbox.Bytes},
		{"push.max_body", c.Push.MaxBody}, {"webhook.max_answer", c.Webhook.MaxAnswer},
	} {
		if held.size > maxHeld && held.size <= maxSize {
			p.add(held.path, "must not be more than %v, got %v", maxHeld, held.size)
		}
	}
}

func bound(p *Problems, path string, v reflect.Value) {
	switch x := v.Interface().(type) {
	case time.Duration:
		if x > maxDuration {
			p.add(path, "must not be more than %v (10 years), got %v", maxDuration, x)
		}
	case Size:
		if x > maxSize {
			p.add(path, "must not be more than %v, got %v", Size(maxSize), x)
		}
	case int:
		if x > maxNumber {
			p.add(path, "must not be more than %d, got %d", maxNumber, x)
		}
	default:
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				if key := v.Type().Field(i).Tag.Get("yaml"); key != "" {
					bound(p, strings.TrimPrefix(path+"."+key, "."), v.Field(i))
				}
			}
		case reflect.Slice:
			for i := range v.Len() {
				bound(p, item(path, i), v.Index(i))
			}
		}
	}
}
