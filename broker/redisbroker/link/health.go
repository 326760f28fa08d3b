package link

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pushcart/pushcart/broker/redisbroker/access"
	"github.com/pushcart/pushcart/internal/ratelog"
)

var errStarting = errors.New("not connected yet")

// Health records whether a server delivers and takes writes. Changes go to the log, and
// to the link's gauge.
type Health struct {
	log     *slog.Logger
	rate    *ratelog.Logger
	named   []any // what the log says of it besides; nil: there is one only
	changed func()
	up      atomic.Bool // down is nil

	mu      sync.Mutex // guards all below
	down    error      // why nothing can be delivered; nil: it can
	refusal error      // what the last write was answered; nil: it was taken
	falls   int64      // how often it was found to be away
}

// Up says whether messages are delivered, as far as is known.
func (h *Health) Up() bool { return h.up.Load() }

// Err says why messages are not delivered, or else why writes are refused; nil: all is well.
func (h *Health) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	err := h.down
	if err == nil {
		err = h.refusal
	}
	if err != nil && h.named != nil {
		err = fmt.Errorf("%v: %w", h.named[1], err)
	}
	return err
}

// Fallen is how often the server was found to be away; see Rise.
func (h *Health) Fallen() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.falls
}

// Rise notes that messages are delivered, unless the server was found to be away since
// Fallen returned falls.
func (h *Health) Rise(falls int64) bool {
	h.mu.Lock()
	was, valid := h.down, h.falls == falls
	if valid {
		h.down = nil
		h.up.Store(true)
	}
	h.mu.Unlock()
	if valid && was != nil {
		h.changed()
		h.log.Info("redis is up", h.named...)
	}
	return valid
}

// Fall notes why nothing can be delivered.
func (h *Health) Fall(why error) {
	h.mu.Lock()
	h.down = why
	h.falls++
	h.up.Store(false)
	h.mu.Unlock()
	h.changed()
	if errors.Is(why, ErrLayout) {
		h.rate.Error("redis has another layout", "redis is not used: nodes of another version store data there",
			"key", "redis.prefix", "err", why.Error())
		return
	}
	tellAway(h.rate, why, h.named)
}

// tellAway logs that a server is away. What somebody must change first is an error.
func tellAway(log *ratelog.Logger, why error, named []any) {
	about := "redis is away " + cause(why, named)
	if key := access.KeyOf(why); key != "" {
		log.Error(about, "redis cannot be used as it is configured; it is tried again", append(slices.Clip(named), "key", key, "err", why.Error())...)
		return
	}
	log.Warn(about, "redis is away; it is tried again", append(slices.Clip(named), "key", "redis", "err", fmt.Sprint(why))...)
}

// Wrote notes what a write was answered, nil if it was taken.
func (h *Health) Wrote(refusal error) {
	h.mu.Lock()
	was := h.refusal
	h.refusal = refusal
	h.mu.Unlock()
	if refusal == nil && was == nil {
		return
	}
	h.changed()
	if refusal == nil {
		h.log.Info("redis takes writes", h.named...)
		return
	}
	h.rate.Warn("redis refuses writes "+cause(refusal, h.named), "redis refuses writes: pushes with an id are answered 503",
		append(slices.Clip(h.named), "key", "redis", "err", refusal.Error())...)
}

func cause(err error, named []any) string { return Cause(err) + fmt.Sprint(named...) }

// Writable: the last write was taken.
func (h *Health) Writable() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refusal == nil
}
