package integration

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/sidecartest"
)

const secret = "0123456789abcdef0123456789abcdef"

const withJWT = "\nauth: {jwt: {secret: " + secret + ", audience: app}}"

// sign makes a JWT of raw header and claims.
func sign(header, claims string) string {
	enc := base64.RawURLEncoding
	t := enc.EncodeToString([]byte(header)) + "." + enc.EncodeToString([]byte(claims))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(t))
	return t + "." + enc.EncodeToString(mac.Sum(nil))
}

func token(user string, channels ...string) string {
	list := ""
	if len(channels) > 0 {
		list = `,"channels":["` + strings.Join(channels, `","`) + `"]`
	}
	return sign(`{"alg":"HS256"}`, fmt.Sprintf(`{"sub":%q,"aud":"app","exp":%d%s}`, user, time.Now().Add(time.Hour).Unix(), list))
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

var dialer = &websocket.Dialer{HandshakeTimeout: 15 * time.Second}

// dial opens a WebSocket that must be let in.
func dial(t *testing.T, s *sidecartest.Sidecar, header http.Header) *websocket.Conn {
	t.Helper()
	c, err := tryDial(s, "/_push", header)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// tryDial's error names the refusal.
func tryDial(s *sidecartest.Sidecar, path string, header http.Header) (*websocket.Conn, error) {
	c, resp, err := dialer.Dial("ws://"+s.Public+path, header)
	if err == nil {
		return c, nil
	}
	if resp != nil {
		return nil, fmt.Errorf("%d %s", resp.StatusCode, readAll(resp.Body))
	}
	return nil, err
}

// next reads one message.
func next(t *testing.T, c *websocket.Conn) (kind int, text string) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(15 * time.Second))
	kind, b, err := c.ReadMessage()
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return kind, string(b)
}

// closed reads until the connection ends and returns the close code, 0 without a
// Close frame.
func closed(t *testing.T, c *websocket.Conn) int {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(15 * time.Second))
	for {
		_, _, err := c.ReadMessage()
		var ce *websocket.CloseError
		if errors.As(err, &ce) {
			return ce.Code
		}
		if err != nil {
			t.Logf("connection ended: %v", err)
			return 0
		}
	}
}

func send(t *testing.T, c *websocket.Conn, kind int, text string) {
	t.Helper()
	if err := c.WriteMessage(kind, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func readAll(r io.Reader) string {
	b, _ := io.ReadAll(r)
	return string(b)
}

var client = &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}

// call makes an HTTP request and returns status and body.
func call(t *testing.T, method, url, contentType, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
