package main

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/accesslog"
)

// logs are where a node logs, in the format and from the level that a reload may
// change.
type logs struct {
	handler *handler
	access  io.Writer
}

// newLogs writes the lines of the process to w, and those of its access log to access.
func newLogs(w, access io.Writer, cfg config.Log) *logs {
	o := &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: onOneLine} // handler decides
	h := &handler{now: &atomic.Pointer[logSettings]{}, text: slog.NewTextHandler(w, o), json: slog.NewJSONHandler(w, o)}
	l := &logs{handler: h, access: access}
	l.apply(cfg)
	return l
}

func (l *logs) apply(cfg config.Log) {
	set := &logSettings{json: cfg.Format == "json"}
	_ = set.level.UnmarshalText([]byte(cfg.Level)) // was checked
	l.handler.now.Store(set)
}

// accessLog is nil where it is off.
func (l *logs) accessLog(node string, cfg config.Log, jwt config.JWT) *accesslog.Log {
	if cfg.Access == config.AccessOff {
		return nil
	}
	var tokens []string
	for _, source := range jwt.Sources {
		if name, ok := strings.CutPrefix(source, "query:"); ok {
			tokens = append(tokens, name)
		}
	}
	return accesslog.New(l.access, accesslog.Options{
		Node: node, Errors: cfg.Access == config.AccessErrors, JSON: cfg.Format == "json", Query: cfg.Query, Hide: tokens,
	})
}

type logSettings struct {
	level slog.Level
	json  bool
}

// handler writes text or JSON, and from one level on; it and all that are made of it
// change together.
type handler struct {
	now        *atomic.Pointer[logSettings]
	text, json slog.Handler
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.now.Load().level
}

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	if h.now.Load().json {
		return h.json.Handle(ctx, r)
	}
	return h.text.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{now: h.now, text: h.text.WithAttrs(attrs), json: h.json.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{now: h.now, text: h.text.WithGroup(name), json: h.json.WithGroup(name)}
}
