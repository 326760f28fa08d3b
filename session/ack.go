package session

// Acknowledge notes that the client confirms a message.
func (e *Engine) Acknowledge(s *Session, id string) { e.hub.Acknowledge(&s.member, id) }
