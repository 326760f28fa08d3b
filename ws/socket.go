package ws

import "errors"

// socket is what a connection needs from what carries it: a descriptor in a
// poller (fdSocket), or a net.Conn with goroutines (goSocket).
type socket interface {
	// write hands over what is taken at once and never blocks. n < len(b) with
	// errAgain: the rest is asked for through Conn.writable after wantWrite.
	// Called under Conn.mu.
	write(b []byte) (n int, err error)
	// wantWrite asks for Conn.writable as soon as the socket takes more; off ends
	// that. Called under Conn.mu.
	wantWrite(on bool)
	// wantRead(false) stops reading soon; the end of the peer may still be
	// noticed. Called under Conn.mu.
	wantRead(on bool)
	// unread says whether the peer sent what was not read yet, as far as is known.
	// Called under Conn.mu.
	unread() bool
	// start begins to read. Called once, not under Conn.mu.
	start()
	// closeWrite sends the FIN after what was written. Called under Conn.mu.
	closeWrite()
	// close releases the socket. Called once: by the loop, or where none took it.
	close()
}

// errAgain: the socket takes nothing more now.
var errAgain = errors.New("ws: socket is full")
