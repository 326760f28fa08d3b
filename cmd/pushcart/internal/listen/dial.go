package listen

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fasthttp/websocket"
)

// Dial says how a connection is opened.
type Dial struct {
	// URL is ws:// or wss://.
	URL string
	// Header goes with the handshake.
	Header http.Header
	// Protocol is how one talks on the connection.
	Protocol Protocol
	// Insecure does not verify the server's certificate.
	Insecure bool
	// Socket is the path of a unix socket to connect to, instead of the URL's host.
	Socket string
}

// Where is the URL as it may be shown: its query may have a token.
func (d *Dial) Where() string {
	where, _, _ := strings.Cut(d.URL, "?")
	return where
}

// Protocol is how a client talks.
type Protocol struct {
	// Name is how people choose it.
	Name string
	// Subprotocol is what the handshake offers; "": none.
	Subprotocol string

	// frames: each message is one of pushcart.json.v1.
	frames bool
}

// Frames says whether one may subscribe, and what is typed becomes a frame.
func (p Protocol) Frames() bool { return p.frames }

// protocols are those there are; the first is the usual one.
var protocols = []Protocol{{Name: "raw"}, framed}

// Protocols are the names of those there are, the usual one first.
func Protocols() (names []string) {
	for _, p := range protocols {
		names = append(names, p.Name)
	}
	return names
}

// Named is the protocol of that name, which must be one of Protocols.
func Named(name string) Protocol { return protocols[slices.Index(Protocols(), name)] }

// Refused is a handshake that was answered with something else than 101.
type Refused struct {
	// Status is the HTTP status.
	Status int
	// Message is what the server said: the message of an error in JSON, else the
	// status in words.
	Message string
	// RetryAfter and Location are headers of the answer, "" if absent.
	RetryAfter, Location string
}

// Error implements error.
func (r *Refused) Error() string { return fmt.Sprintf("%d: %s", r.Status, r.Message) }

// Unspoken is a server that let the connection in and does not speak its protocol.
type Unspoken struct {
	// Subprotocol is what was offered.
	Subprotocol string
}

// Error implements error.
func (u *Unspoken) Error() string { return "the server does not speak " + u.Subprotocol }

// handshakeTime bounds the way to the 101.
const handshakeTime = 30 * time.Second

func (d *Dial) open(ctx context.Context) (*websocket.Conn, error) {
	dialer := websocket.Dialer{
		Proxy: http.ProxyFromEnvironment, HandshakeTimeout: handshakeTime,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: d.Insecure},
	}
	header := d.Header
	if d.Protocol.Subprotocol != "" {
		const name = "Sec-Websocket-Protocol" // a token may be in it; the dialer wants all names in one place
		dialer.Subprotocols = append([]string{d.Protocol.Subprotocol}, header[name]...)
		header = header.Clone()
		header.Del(name)
	}
	if d.Socket != "" {
		dialer.Proxy = nil
		dialer.NetDialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var to net.Dialer
			return to.DialContext(ctx, "unix", d.Socket)
		}
	}
	conn, resp, err := dialer.DialContext(ctx, d.URL, header)
	if resp != nil && errors.Is(err, websocket.ErrBadHandshake) {
		return nil, refusal(resp)
	}
	if err != nil {
		return nil, err
	}
	if want := d.Protocol.Subprotocol; conn.Subprotocol() != want && want != "" {
		return nil, errors.Join(&Unspoken{want}, conn.Close())
	}
	return conn, nil
}

// refusal reads what the client left of the body: its first 1024 bytes.
func refusal(resp *http.Response) *Refused {
	r := &Refused{resp.StatusCode, http.StatusText(resp.StatusCode), resp.Header.Get("Retry-After"), resp.Header.Get("Location")}
	body, _ := io.ReadAll(resp.Body)
	var said struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &said) == nil && said.Error.Message != "" {
		r.Message = said.Error.Message
	} else if text := bytes.TrimSpace(body); len(text) > 0 && len(text) < 200 && text[0] != '<' && text[0] != '{' {
		r.Message = safe(string(text))
	}
	return r
}
