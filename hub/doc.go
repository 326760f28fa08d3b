// Package hub decides who gets a message: it is this node's table of connections
// and the receiving end of the broker. It delivers pushes in one order per
// destination, counts what became of them, and asks other nodes about their
// connections.
//
// It knows no HTTP and no sockets: a connection is the small interface [Conn], which
// transports implement. What a client sees of a [Message] is made once per encoding
// and shared.
//
// Words: a topic is a destination as the broker knows it; a lane is an ordered queue
// between the broker, which must never wait, and the delivery; an envelope is a
// push on its way to a node; a bulk is what many envelopes of one push refer to.
//
// A connection that knows positions is a [Follower]: what it gets of a topic that keeps
// history is complete, or it is told of a gap. Until it has what it missed a cursor
// brings it along (cursor.go), as fast as it takes messages, and no message that comes
// goes to it; where cursor and stream meet, it joins the others (followed.go). All
// cursors read one tail, which the broker keeps of what came, and so many move at once
// (catchup.go).
//
// What a user is subscribed to for as long as it comes back is a list that the broker
// keeps (lasting.go). A change of it is an order to the user's nodes, which has its place
// among all others (lasting_calls.go); a connection is registered first and reads the list
// then, so that it misses none. What a node could not read or hear it reads again
// (lasting_again.go).
//
// All methods may be called concurrently.
package hub
