package redisbroker

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/pushcart/pushcart/internal/ratelog"
)

// health records whether Redis delivers and takes writes. Changes go to the log and
// to one gauge.
type health struct {
	gauge func(float64)
	log   *slog.Logger
	rate  *ratelog.Logger
	up    atomic.Bool // down is nil

	mu      sync.Mutex // guards all below
	down    error      // why nothing can be delivered; nil: it can
	refusal error      // what the last write was answered; nil: it was taken
	falls   int64      // how often it was found to be away
}

func newHealth(gauge func(float64), log *slog.Logger) *health {
	return &health{gauge: gauge, log: log, rate: ratelog.New(log), down: errStarting}
}

func (h *health) isUp() bool { return h.up.Load() }

func (h *health) err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down != nil {
		return h.down
	}
	return h.refusal
}

// fallen is how often Redis was found to be away; see rise.
func (h *health) fallen() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.falls
}

// rise notes that messages are delivered, unless Redis was found to be away since
// fallen returned falls.
func (h *health) rise(falls int64) bool {
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

// fall notes why nothing can be delivered.
func (h *health) fall(why error) {
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
	h.rate.Warn("redis is away "+cause(why), "redis is away; it is tried again", "key", "redis", "err", fmt.Sprint(why))
}

// wrote notes what a write was answered, nil if it was taken.
func (h *health) wrote(refusal error) {
	h.mu.Lock()
	was := h.refusal
	h.refusal = refusal
	h.showLocked()
	h.mu.Unlock()
	switch {
	case refusal != nil:
		h.rate.Warn("redis refuses writes "+cause(refusal), "redis refuses writes: pushes with an id are answered 503",
			"key", "redis", "err", refusal.Error())
	case was != nil:
		h.log.Info("redis takes writes")
	}
}

// writable: the last write was taken.
func (h *health) writable() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refusal == nil
}

func (h *health) showLocked() {
	h.up.Store(h.down == nil)
	value := 0.0
	if h.down == nil && h.refusal == nil {
		value = 1
	}
	h.gauge(value)
}
