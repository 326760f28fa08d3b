package push

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Client calls a push API, for the command line. It may be used concurrently.
type Client struct {
	http  *http.Client
	base  string
	token string
}

// NewClient returns a client for http://host:port, host:port or unix:/path. token
// may be "".
func NewClient(address, token string) (*Client, error) {
	c := &Client{http: &http.Client{Timeout: time.Minute}, token: token}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		c.base = "http://localhost"
		c.http.Transport = &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "unix", path)
			},
		}
		return c, nil
	}
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" && u.Path != pathPush {
		return nil, errors.New("want the push API's address, like http://127.0.0.1:8081, 127.0.0.1:8081 or unix:/path")
	}
	c.base = u.Scheme + "://" + u.Host
	return c, nil
}

// ClientPush is a push as the command line makes it.
type ClientPush struct {
	To struct {
		Users       []string `json:"users,omitempty"`
		Channels    []string `json:"channels,omitempty"`
		Connections []string `json:"connections,omitempty"`
		All         bool     `json:"all,omitempty"`
	} `json:"to"`
	// Data is sent as JSON where it is JSON, as Text otherwise.
	Data  json.RawMessage `json:"data,omitempty"`
	Text  *string         `json:"text,omitempty"`
	Event string          `json:"event,omitempty"`
	ID    string          `json:"id,omitempty"`
	Wait  string          `json:"wait,omitempty"`
}

// Refused is the error for an answer that is a refusal.
type Refused struct {
	// Status is the HTTP status.
	Status int
	// Message is what the API said, or the status in words.
	Message string
}

// Error implements error.
func (e *Refused) Error() string { return e.Message }

// Push sends one push and returns the API's raw answer. Its error is a *Refused if the
// API refused.
func (c *Client) Push(ctx context.Context, p *ClientPush) ([]byte, error) {
	body, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("push: %w", err)
	}
	return c.do(ctx, http.MethodPost, pathPush, bytes.NewReader(body))
}

// Get requests /v1 and the segments, which may contain any character, and returns the raw
// answer. Its error is a *Refused if the API refused.
func (c *Client) Get(ctx context.Context, query url.Values, segments ...string) ([]byte, error) {
	path := apiPath(segments)
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.do(ctx, http.MethodGet, path, nil)
}

// Call is Get with another method, without a body.
func (c *Client) Call(ctx context.Context, method string, segments ...string) ([]byte, error) {
	return c.do(ctx, method, apiPath(segments), nil)
}

func apiPath(segments []string) string {
	path := "/v1"
	for _, s := range segments {
		path += "/" + url.PathEscape(s)
	}
	return path
}

// maxAnswer bounds an answer that is read, in bytes: a page of channels is far below.
const maxAnswer = 64 << 20

func (c *Client) do(ctx context.Context, method, path string, body io.Reader) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("push API: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", contentJSON)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("push API: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("push API: %w", err)
	}
	if resp.StatusCode/100 == 2 {
		return answer, nil
	}
	var said struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(answer, &said) == nil && said.Error.Message != "" {
		return nil, &Refused{resp.StatusCode, said.Error.Message}
	}
	return nil, &Refused{resp.StatusCode, resp.Status}
}
