package proxy

// NTLM and Negotiate authenticate a connection instead of each request (RFC 4559 §6):
// whoever comes next on it is the same user to the backend. A backend connection on
// which either was named is therefore its client's own, and ends with it.

// borrow returns the client's own backend connection, or one that is anybody's.
func (c *clientConn) borrow() (*backendConn, error) {
	if b := c.own; b != nil {
		c.own = nil
		if c.s.up.reuse(b) {
			return b, nil
		}
	}
	return c.s.up.get(false, c.set.backend.connect)
}

// giveBack keeps a backend connection for the next request that may use it.
func (c *clientConn) giveBack(b *backendConn) {
	if !b.private {
		c.s.up.put(b)
		return
	}
	c.s.up.rest(b)
	c.own = b
	c.parks = false // a parked client is a descriptor and nothing more
}

// dropOwn ends the client's own backend connection.
func (c *clientConn) dropOwn() {
	if c.own != nil {
		c.s.up.discard(c.own)
		c.own = nil
	}
}
