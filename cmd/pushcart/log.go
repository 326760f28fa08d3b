package main

import (
	"context"
	stdlog "log"
	"log/slog"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/ratelog"
)

// lastWords is what a reader of stderr gets to take the last lines.
const lastWords = time.Second

// newLogs returns the logs of a node, which also takes what libraries print that have
// one log for the whole process.
func (p *process) newLogs(cfg config.Log) *logs {
	l := newLogs(p.lines, p.lines.Lazy(), cfg)
	log := slog.New(l.handler)
	p.lines.OnDrop(func(lines uint64) {
		log.Warn("log lines were dropped: stderr was closed, or not read fast enough", "dropped", lines)
	})
	redis.SetLogger(ratelog.WithContext{Library: ratelog.ForLibrary("go-redis", log)})
	stdlog.SetFlags(0)
	stdlog.SetOutput(ratelog.ForLibrary("log", log))
	return l
}

var lineBreaks = strings.NewReplacer("\n\t", " ", "\r\n", "; ", "\n", "; ", "\r", "; ")

// onOneLine takes line breaks out of values, like those of joined errors and of stacks:
// not every reader of a log undoes the escapes.
func onOneLine(_ []string, a slog.Attr) slog.Attr {
	var text string
	switch value := a.Value.Any().(type) {
	case string:
		text = value
	case error:
		text = value.Error()
	}
	if strings.ContainsAny(text, "\r\n") {
		return slog.String(a.Key, lineBreaks.Replace(text))
	}
	return a
}

// newNode returns a node that logs to the process's stderr.
func (p *process) newNode(ctx context.Context, cfg config.Config, source config.Source) (*node, error) {
	n, err := newNode(ctx, cfg, source, p.newLogs(cfg.Log))
	if err != nil {
		return nil, err
	}
	n.supervisor = p.supervisor
	n.metrics.Counter("pushcart_log_dropped_total", "Log lines that stderr did not take.",
		func() float64 { return float64(p.lines.Dropped()) })
	return n, nil
}
