package httpclient

import (
	"errors"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/pushcart/pushcart/internal/dial"
)

const (
	// MaxHead bounds an answer's head, as it does for what passes through.
	MaxHead = 64 << 10
	// idle is below the keep-alive of common app servers (Node: 5 s), so that a
	// request seldom meets a connection that the backend is closing.
	idle = 2 * time.Second
)

// Options are what a Client is made from.
type Options struct {
	// Endpoint is the one server that is asked.
	Endpoint *dial.Endpoint
	// MaxConns bounds the connections; Wait is how long a request waits for a free
	// one, 0: it fails at once.
	MaxConns int
	Wait     time.Duration
	// MaxBody bounds an answer's body.
	MaxBody int
	// Idempotent requests are sent again, once, when the connection ended without
	// an answer.
	Idempotent bool
}

// Client asks one server over connections that it keeps.
type Client struct {
	http       *fasthttp.HostClient
	sockets    *sockets
	idempotent bool
}

// New returns a client. It holds goroutines only while connections are open.
func New(o Options) *Client {
	s := newSockets(o.Endpoint)
	return &Client{sockets: s, idempotent: o.Idempotent, http: &fasthttp.HostClient{
		Addr:                     o.Endpoint.Host, // for its messages only: dial knows better
		IsTLS:                    o.Endpoint.TLS != nil,
		MaxConns:                 o.MaxConns,
		MaxConnWaitTimeout:       o.Wait,
		MaxIdleConnDuration:      idle,
		ConnPoolStrategy:         fasthttp.LIFO, // so that a burst's connections become idle after it
		MaxResponseBodySize:      o.MaxBody,
		ReadBufferSize:           MaxHead,
		NoDefaultUserAgentHeader: true,
		DisablePathNormalizing:   true,
		// What may be sent twice is decided here and by the caller.
		MaxIdemponentCallAttempts: 1,
		RetryIfErr:                func(*fasthttp.Request, int, error) (bool, bool) { return false, false },
		DialTimeout:               s.dial,
	}}
}

// Do sends req and reads the answer into resp, all within timeout. With
// ErrBodyTooLarge resp has the answer's head.
func (c *Client) Do(req *fasthttp.Request, resp *fasthttp.Response, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for again := c.idempotent; ; {
		err := c.http.DoDeadline(req, resp, deadline)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errStale): // nothing was sent, and that connection is gone
		case again && errors.Is(err, fasthttp.ErrConnectionClosed):
			again = false
		default:
			return inOurWords(err)
		}
	}
}

// Limit bounds the connections instead of Options.MaxConns. It must be called before
// the first Do.
func (c *Client) Limit(conns int) { c.http.MaxConns = conns }

// CloseIdle closes the connections that no request uses.
func (c *Client) CloseIdle() { c.http.CloseIdleConnections() }

// Cut ends every request under way; those to come fail.
func (c *Client) Cut() { c.sockets.cut() }

// Unused says that it has no connection.
func (c *Client) Unused() bool {
	c.sockets.mu.Lock()
	defer c.sockets.mu.Unlock()
	return len(c.sockets.open) == 0
}
