package listen

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/fasthttp/websocket"
)

// Options say what is done with a connection.
type Options struct {
	// In is what is typed: each line is a message, and at its end one goes on
	// listening.
	In io.Reader
	// Out gets the messages, Notes what is said about the connection.
	Out, Notes io.Writer
	// JSON prints one object per line.
	JSON bool
	// Binary sends lines as binary messages; not for a protocol with frames.
	Binary bool
	// Subscribe are channels to ask for, in a protocol with frames.
	Subscribe []string
	// For ends it after so long, Count after so many messages (in a protocol with
	// frames: messages and replies); 0: neither.
	For   time.Duration
	Count int
}

// Closed is the end that the server or the network made.
type Closed struct {
	// Code is the close code; 1006 without a Close frame.
	Code int
	// Reason is what the Close frame said.
	Reason string
}

// Error implements error.
func (c *Closed) Error() string {
	if c.Reason == "" {
		return fmt.Sprintf("closed with %d", c.Code)
	}
	return fmt.Sprintf("closed with %d (%s)", c.Code, c.Reason)
}

// TooFew is the end of For before Count messages came.
type TooFew struct {
	// Came and Wanted are numbers of messages.
	Came, Wanted int
	// Within is For.
	Within time.Duration
}

// Error implements error.
func (f *TooFew) Error() string {
	return fmt.Sprintf("%d of %d messages came within %v", f.Came, f.Wanted, f.Within)
}

// Run opens a connection and listens until ctx or Options end it, which is not an error.
// Its other errors are *Refused, *Closed, *TooFew, and those of the network.
func Run(ctx context.Context, d Dial, o Options) error {
	conn, err := d.open(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Notes, "connected to %s; Ctrl-C ends\n", d.Where())
	s := &session{o: o, frames: d.Protocol.frames, conn: conn, out: printer{o.JSON, d.Protocol.frames, o.Out}, came: make(chan message), gone: make(chan struct{})}
	return s.run(ctx)
}

// session is one open connection. One goroutine reads, one sends what is typed, and the
// loop prints: were it to send, neither side would read while both write.
type session struct {
	o      Options
	frames bool
	conn   *websocket.Conn
	out    printer
	came   chan message
	gone   chan struct{} // closed when the loop is over
	seen   int
}

// message is what the reader got; the last one has the error that ended it.
type message struct {
	binary bool
	data   []byte
	err    error
}

// leaveTime is how long the server has for its half of the closing handshake.
const leaveTime = time.Second

func (s *session) run(ctx context.Context) error {
	var reader sync.WaitGroup
	reader.Go(s.read)
	defer reader.Wait()
	defer s.conn.Close() // ends the read
	defer close(s.gone)
	var end <-chan time.Time
	if s.o.For > 0 {
		t := time.NewTimer(s.o.For)
		defer t.Stop()
		end = t.C
	}
	go s.send() // nobody waits for it: a read of a terminal lasts until the process ends
	for {
		select {
		case <-ctx.Done():
			s.leave()
			return nil
		case <-end:
			if s.leave(); s.seen < s.o.Count {
				return &TooFew{s.seen, s.o.Count, s.o.For}
			}
			return nil
		case m := <-s.came:
			if m.err != nil {
				return s.closed(m.err)
			}
			counts, err := s.out.show(m.binary, m.data)
			if err != nil {
				return err
			}
			if !counts {
				continue
			}
			if s.seen++; s.seen == s.o.Count {
				s.leave()
				return nil
			}
		}
	}
}

func (s *session) read() {
	for {
		kind, data, err := s.conn.ReadMessage()
		select {
		case s.came <- message{kind == websocket.BinaryMessage, data, err}:
		case <-s.gone:
			return
		}
		if err != nil {
			return
		}
	}
}

// send asks for channels and sends what is typed, a line at a time.
func (s *session) send() {
	for _, channel := range s.o.Subscribe {
		if !s.write(websocket.TextMessage, subscribing(channel)) {
			return
		}
	}
	in := bufio.NewReader(s.o.In)
	for {
		text, err := in.ReadString('\n')
		if err != nil && text == "" {
			return
		}
		text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
		if kind, data, ok := s.typed(text); ok && !s.write(kind, data) {
			return
		}
	}
}

// typed is the message that a line becomes, if it may be one.
func (s *session) typed(text string) (kind int, data []byte, ok bool) {
	switch {
	case s.o.Binary:
		return websocket.BinaryMessage, []byte(text), true
	case !utf8.ValidString(text) && s.frames:
		fmt.Fprintln(s.o.Notes, "not sent: the line is not UTF-8; data_base64 of a frame carries any bytes")
		return 0, nil, false
	case !utf8.ValidString(text):
		fmt.Fprintln(s.o.Notes, "not sent: the line is not UTF-8; --binary sends lines as binary messages")
		return 0, nil, false
	case s.frames:
		return websocket.TextMessage, typedFrame(text), true
	}
	return websocket.TextMessage, []byte(text), true
}

// write says whether it could be sent.
func (s *session) write(kind int, data []byte) bool {
	if s.conn.WriteMessage(kind, data) == nil {
		return true
	}
	// What the server said last may still be unread; then the reader ends too.
	_ = s.conn.SetReadDeadline(time.Now().Add(leaveTime))
	return false
}

// leave says goodbye and waits a moment for the answer.
func (s *session) leave() {
	goodbye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	if err := s.conn.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(leaveTime)); err != nil {
		return // it is gone already, as was wanted
	}
	t := time.NewTimer(leaveTime)
	defer t.Stop()
	for {
		select {
		case m := <-s.came:
			if m.err != nil {
				return
			}
		case <-t.C:
			return
		}
	}
}

// closed says how the other side ended it.
func (s *session) closed(err error) error {
	c := &Closed{Code: websocket.CloseAbnormalClosure}
	var frame *websocket.CloseError
	if errors.As(err, &frame) {
		c.Code, c.Reason = frame.Code, indented(safe(frame.Text))
	}
	if c.Code == websocket.CloseAbnormalClosure {
		c.Reason = "" // it is the client's own word for it
	}
	if s.o.JSON {
		if err := s.out.object(time.Now(), line{Type: "close", Code: c.Code, Reason: c.Reason}); err != nil {
			return err
		}
	}
	return c
}
