package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/apierror"
	"github.com/pushcart/pushcart/internal/gate"
	"github.com/pushcart/pushcart/internal/guard"
	"github.com/pushcart/pushcart/internal/hostport"
	"github.com/pushcart/pushcart/internal/ratelog"
)

// Options are what a Server is built from.
type Options struct {
	Config config.Admin
	// Metrics serves /metrics.
	Metrics http.Handler
	// Redis is nil while Redis works, else what it answered; a nil function: there is
	// no Redis.
	Redis func() error
	// Reload reads the configuration again and says what came of it. Its error is
	// config.Problems, or an *apierror.Error where it cannot be.
	Reload func() (Reloaded, error)
	// Drain takes the node out of service and returns when that is over, or ctx: how
	// many WebSockets are left then.
	Drain func(ctx context.Context) (left int)
	// Panics is called for each panic; nil: nobody counts.
	Panics func()
	Log    *slog.Logger
}

// Server is the admin listener.
type Server struct {
	o     Options
	http  *http.Server
	ready atomic.Bool
	gate  *gate.Gate
}

// NewSettings makes the gate's settings of the section admin; a reload calls Apply
// with them.
func NewSettings(cfg config.Admin) *gate.Settings { return gate.NewSettings(cfg.Hosts, cfg.Tokens) }

// Apply changes the settings for the requests to come.
func (s *Server) Apply(set *gate.Settings) { s.gate.Apply(set) }

// New returns a server that is not ready; Serve makes it listen.
func New(o Options) *Server {
	rules := gate.Rules{Section: "admin", NeedsTokens: !hostport.Loopback(o.Config.Listen)}
	s := &Server{o: o, gate: gate.New(rules, NewSettings(o.Config))}
	s.http = &http.Server{Handler: s.survives(s.routes()), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: log.New(ratelog.ForLibrary("net/http", o.Log), "", 0)}
	return s
}

// survives answers 500 to a request whose handler panics.
func (s *Server) survives(h http.Handler) http.Handler {
	g := guard.New(s.o.Log, s.o.Panics)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer g.Recover("admin", func() { fail(w, apierror.New(apierror.Internal, "internal error")) })
		h.ServeHTTP(w, r)
	})
}

func (s *Server) routes() http.Handler {
	open := http.NewServeMux() // exempt from the gate: for probes, from wherever they come
	open.HandleFunc("GET /healthz", s.healthz)
	open.HandleFunc("GET /readyz", s.readyz)
	open.Handle("GET /metrics", s.o.Metrics)
	guarded := http.NewServeMux()
	guarded.HandleFunc("GET /{$}", s.index)
	guarded.HandleFunc("/reload", s.writes(s.reload))
	guarded.HandleFunc("/drain", s.writes(s.drain))
	if s.o.Config.Pprof {
		guarded.HandleFunc("/debug/pprof/", pprof.Index)
		guarded.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		guarded.HandleFunc("/debug/pprof/profile", pprof.Profile)
		guarded.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		guarded.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	guarded.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fail(w, apierror.New(apierror.NotFound, "no such page"))
	})
	open.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if err := s.gate.Check(asked(r)); err != nil {
			fail(w, err)
			return
		}
		guarded.ServeHTTP(w, r)
	})
	return open
}

// asked is what the gate wants to know.
func asked(r *http.Request) gate.Request {
	return gate.Request{
		Host: r.Host, FetchSite: []byte(r.Header.Get("Sec-Fetch-Site")), Origin: r.Header.Get("Origin") != "",
		Authorization: []byte(r.Header.Get("Authorization")),
	}
}

func fail(w http.ResponseWriter, e *apierror.Error) {
	w.Header().Set("Content-Type", "application/json")
	if e.Code == apierror.Unauthenticated {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(e.Code.Status())
	_, _ = w.Write(e.AsJSON())
}

// SetReady is what /readyz says from now on: true once the listeners are open,
// false while draining.
func (s *Server) SetReady(ready bool) { s.ready.Store(ready) }

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n"))
}

// readyz does not depend on Redis, whose outage must not take the app's HTTP out
// of service, unless it is asked to.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	body := struct {
		Ready bool   `json:"ready"`
		Redis string `json:"redis"`
		Error string `json:"redis_error,omitempty"`
	}{Ready: s.ready.Load(), Redis: "none"}
	up := true
	if s.o.Redis != nil {
		body.Redis = "up"
		if err := s.o.Redis(); err != nil {
			up, body.Redis, body.Error = false, "down", err.Error()
		}
	}
	if r.URL.Query().Get("require") == "redis" {
		body.Ready = body.Ready && up
	}
	w.Header().Set("Content-Type", "application/json")
	if !body.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(body)
}

func (s *Server) index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	text := "pushcart admin\n\n/healthz  is the process alive\n/readyz   should it get traffic (?require=redis: also Redis)\n/metrics  Prometheus metrics\n/reload   POST: read the configuration again\n/drain    POST: close the WebSockets and take no more\n"
	if s.o.Config.Pprof {
		text += "/debug/pprof/\n"
	}
	_, _ = w.Write([]byte(text))
}

// Serve takes requests from ln until Shutdown; then it returns nil.
func (s *Server) Serve(ln net.Listener) error {
	if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin listener: %w", err)
	}
	return nil
}

// patience is how long Shutdown waits for a scrape. net/http takes a connection
// that has not sent anything yet for one.
const patience = 500 * time.Millisecond

// Shutdown lets requests in flight finish for a moment, at most until ctx ends,
// then cuts them.
func (s *Server) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if s.http.Shutdown(ctx) == nil {
		return nil
	}
	if err := s.http.Close(); err != nil {
		return fmt.Errorf("admin listener: %w", err)
	}
	return nil
}
