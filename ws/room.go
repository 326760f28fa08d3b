package ws

// Room implements hub.Follower.
func (c *Conn) Room() (messages, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.roomLocked()
}

func (c *Conn) roomLocked() (messages, bytes int) {
	messages, bytes = c.srv.box.Messages/2, int(c.srv.box.Bytes)/2
	if o := c.out; o != nil {
		messages, bytes = messages-o.len(), bytes-o.bytes
	}
	return messages, bytes
}

// OnRoom implements hub.Follower.
func (c *Conn) OnRoom(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if messages, bytes := c.roomLocked(); c.out == nil || messages > 0 && bytes > 0 {
		return false
	}
	c.out.onRoom = append(c.out.onRoom, f)
	return true
}

// tell tells those that wait for room, which only queue what they do then.
func (o *outbox) tell() {
	told := o.onRoom
	o.onRoom = nil
	for _, f := range told {
		f()
	}
}
