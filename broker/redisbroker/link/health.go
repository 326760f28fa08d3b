package link

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/pushcart/pushcart/internal/ratelog"
)

var errStarting = errors.New("not connected yet")

// Health records whether Redis delivers and takes writes. Changes go to the log and
// to one gauge.
type Health struct {
	gauge func(float64)
	log   *slog.Logger
	rate  *ratelog.Logger
	up    atomic.Bool // down is nil

	mu      sync.Mutex // guards all below
	down    error      // why nothing can be delivered; nil: it can
	refusal error      // what the last write was answered; nil: it was taken
	falls   int64      // how often it was found to be away
}

func newHealth(gauge func(float64), log *slog.Logger) *Health {
	return &Health{gauge: gauge, log: log, rate: ratelog.New(log), down: errStarting}
}

// Up says whether messages are delivered, as far as is known.
func (h *Health) Up() bool { return h.up.Load() }

// Err says why messages are not delivered, or else why writes are refused; nil: all is well.
func (h *Health) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down != nil {
		return h.down
	}
	return h.refusal
}

// Fallen is how often Redis was found to be away; see Rise.
func (h *Health) Fallen() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.falls
}

// Rise notes that messages are delivered, unless Redis was found to be away since
// Fallen returned falls.
func (h *Health) Rise(falls int64) bool {
	h.mu.Lock()
	was, valid := h.down, h.falls == falls
	if valid {
		h.down = nil
		h.showLocked()
	}
	h.mu.Unlock()
	if valid && was != nil {
		h.log.Info("redis is up")
	}
	return valid
}

// Fall notes why nothing can be delivered.
func (h *Health) Fall(why error) {
	h.mu.Lock()
	h.down = why
	h.falls++
	h.showLocked()
	h.mu.Unlock()
	if errors.Is(why, ErrLayout) {
		h.rate.Error("redis has another layout", "redis is not used: nodes of another version store data there",
			"key", "redis.prefix", "err", why.Error())
		return
	}
	h.rate.Warn("redis is away "+Cause(why), "redis is away; it is tried again", "key", "redis", "err", fmt.Sprint(why))
}

// Wrote notes what a write was answered, nil if it was taken.
func (h *Health) Wrote(refusal error) {
	h.mu.Lock()
	was := h.refusal
	h.refusal = refusal
	h.showLocked()
	h.mu.Unlock()
	switch {
	case refusal != nil:
		h.rate.Warn("redis refuses writes "+Cause(refusal), "redis refuses writes: pushes with an id are answered 503",
			"key", "redis", "err", refusal.Error())
	case was != nil:
		h.log.Info("redis takes writes")
	}
}

// Writable: the last write was taken.
func (h *Health) Writable() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refusal == nil
}

func (h *Health) showLocked() {
	h.up.Store(h.down == nil)
	value := 0.0
	if h.down == nil && h.refusal == nil {
		value = 1
	}
	h.gauge(value)
}
