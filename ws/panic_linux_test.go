package ws

import (
	"sync/atomic"
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/testkit"
)

// trap is a socket that panics, once it is armed, in one of its methods.
type trap struct {
	socket
	in atomic.Pointer[string]
}

func (b *trap) blow(in string) {
	if armed := b.in.Load(); armed != nil && *armed == in {
		panic("test: " + in)
	}
}

func (b *trap) arm(in string)               { b.in.Store(&in) }
func (b *trap) write(p []byte) (int, error) { b.blow("write"); return b.socket.write(p) }
func (b *trap) wantWrite(on bool)           { b.blow("wantWrite"); b.socket.wantWrite(on) }
func (b *trap) wantRead(on bool)            { b.blow("wantRead"); b.socket.wantRead(on) }
func (b *trap) closeWrite()                 { b.blow("closeWrite"); b.socket.closeWrite() }
func (b *trap) close() {
	defer b.blow("close")
	b.socket.close()
}

// polledTrap is one in a poller.
type polledTrap struct {
	*trap
	in polled
}

func (b *polledTrap) read(p *poller) { b.in.read(p) }
func (b *polledTrap) room()          { b.trap.blow("room"); b.in.room() }

func trapped(s socket) socket {
	b := &trap{socket: s}
	if p, ok := s.(polled); ok {
		return &polledTrap{b, p}
	}
	return b
}

// panicked says whether the metrics count a panic.
func (n *node) panicked(t *testing.T) bool {
	return testkit.Metric(t, n.metrics.Handler(), "pushcart_panics_total") > 0
}

// survives wants that what set does to a connection ends it with a panic, and that
// another goes on.
func survives(t *testing.T, n *node, set func(*client, *Conn)) {
	t.Helper()
	bad, _ := n.connect(t, "Sec-WebSocket-Extensions: permessage-deflate\r\n", nil)
	c := n.only(t)
	other, _ := n.connect(t, "", nil)
	set(bad, c)
	go func() { // it answers a Close, if one comes
		for r, err := bad.next(); err == nil && r.first != finBit|opClose; r, err = bad.next() {
		}
		_ = bad.conn.Close()
	}()
	testkit.Eventually(t, "the connection ends", func() bool { return n.Connections() == 1 })
	other.run(send(oneWrite, say("still here")).hears(aText("still here")))
	if !n.panicked(t) {
		t.Error("no panic was counted")
	}
}

// A panic in a call to a socket, wherever the call comes from, ends that connection
// and leaves no lock behind.
func TestPanic_InASocketEndsItsConnectionOnly(t *testing.T) {
	says := func(frame []byte) func(*client, *Conn) {
		return func(bad *client, _ *Conn) { bad.write(frame, oneWrite) }
	}
	pushes := func(n int) func(*client, *Conn) {
		return func(_ *client, c *Conn) {
			var batch []*hub.Message
			for range n {
				batch = append(batch, &hub.Message{Kind: hub.Text, Data: []byte("x")})
			}
			c.Send(batch)
		}
	}
	for _, r := range []road{roads[0], roads[2], roads[3]} {
		write := "write"
		if r.hide != nil { // there a write only wakes the writer
			write = "wantWrite"
		}
		var change func(*config.Config)
		f := func(name, in string, set func(*client, *Conn)) {
			t.Run(r.name+": "+name, func(t *testing.T) {
				n := newNode(t, r, change)
				n.wrap = trapped
				survives(t, n, func(bad *client, c *Conn) {
					c.sock.(interface{ arm(string) }).arm(in)
					set(bad, c)
				})
			})
		}
		f("a pong", write, says(ping("p")))
		f("an answer", write, says(say("m")))
		f("a push", write, pushes(1))
		f("a batch", write, pushes(2))
		f("the answer to a Close", write, says(closing(CodeNormal, "")))
		f("the FIN", "closeWrite", says(closing(CodeNormal, "")))
		f("the release", "close", says(closing(CodeNormal, "")))
		f("going on with reading", "wantRead", says(say("m")))
		change = compressing
		f("going on after decompression", "wantRead", says(join(deflatedFrames(t, opText, []byte("m"), 6, 1<<20)...)))
	}
}

func (b *trap) start() { b.blow("start"); b.socket.start() }

// A connection that is registered has more to give back than one that is not.
func TestPanic_InAHandshakeGivesBackWhatItHeld(t *testing.T) {
	for _, r := range []road{roads[0], roads[2], roads[3]} {
		t.Run(r.name, func(t *testing.T) {
			n := newNode(t, r, nil)
			n.wrap = func(s socket) socket {
				s = trapped(s)
				s.(interface{ arm(string) }).arm("start")
				return s
			}
			c := n.dial(t)
			c.write([]byte(handshook+"\r\n"), oneWrite)
			testkit.Eventually(t, "the panic", func() bool { return n.panicked(t) })
			testkit.Eventually(t, "it is gone", func() bool { return n.Connections() == 0 && n.sessions.Hub().Connections() == 0 })
		})
	}
}
