// Package hub decides who gets a message: it is this node's table of connections
// and the receiving end of the broker. It delivers pushes in one order per
// destination, counts what became of them, and asks other nodes about their
// connections.
//
// It knows no HTTP and no sockets: a connection is the small interface [Conn], which
// transports implement. A [Message] is encoded once per encoding, and the bytes are
// shared.
//
// Words: a topic is a destination as the broker knows it; a lane is an ordered queue
// between the broker, which must never wait, and the delivery; an envelope is a
// push on its way to a node; a bulk is what many envelopes of one push refer to.
//
// A connection that knows positions is a [Follower]: it gets every message of a topic
// with history, or a gap. Until it has caught up, a cursor feeds it what it missed
// (cursor.go), as fast as it takes messages, and new messages are not sent to it; where
// cursor and stream meet, it joins the others (followed.go). All cursors read one tail,
// the broker's record of recent messages, so many can advance at once (catchup.go).
//
// A user's lasting subscriptions are a list that the broker keeps (lasting.go). A change
// is an order to the user's nodes, in sequence with all other orders (lasting_calls.go);
// a connection is registered first and then reads the list, so it misses no change. If a
// node could not read the list or receive an order, it reads the list again
// (lasting_again.go).
//
// All methods may be called concurrently.
package hub
