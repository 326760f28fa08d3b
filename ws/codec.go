package ws

import (
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/session"
)

// codec makes frames of messages for one protocol, each once for all who get it in
// the same form.
type codec struct {
	protocol        session.Protocol
	plain, deflated hub.Encoding
	// The functions that do it, made once: a method value for each message would
	// allocate.
	asPlain, asDeflated func(*hub.Message) []byte
}

func newCodec(h *hub.Hub, p session.Protocol) *codec {
	c := &codec{protocol: p, plain: h.NewEncoding(), deflated: h.NewEncoding()}
	c.asPlain, c.asDeflated = c.plainFrame, c.deflatedFrame
	return c
}

func (c *codec) plainFrame(m *hub.Message) []byte {
	p, kind := c.protocol.Payload(m)
	return newFrame(opOf(kind), p)
}

// deflatedFrame is the frame for those who negotiated permessage-deflate; the plain
// one where that is not smaller.
func (c *codec) deflatedFrame(m *hub.Message) []byte {
	plain := m.Encoded(c.plain, c.asPlain)
	p, kind := c.protocol.Payload(m)
	if f := deflate(opOf(kind), p); len(f) < len(plain) {
		return f
	}
	return plain
}

func opOf(k hub.Kind) byte {
	if k == hub.Binary {
		return opBinary
	}
	return opText
}

// codec is that of the protocol that the client speaks.
func (c *Conn) codec() *codec { return c.srv.codecs[c.session.ProtocolIndex()] }

// frameOf is a message's frame in this connection's encoding. A client that asked
// for a small window gets what fits into it compressed, as no distance can then
// reach farther back, and the rest as it is (RFC 7692 §6).
func (c *Conn) frameOf(m *hub.Message) []byte {
	codec := c.codec()
	plain := m.Encoded(codec.plain, codec.asPlain)
	if c.window == 0 || !c.deflates(payloadSize(plain)) {
		return plain
	}
	return m.Encoded(codec.deflated, codec.asDeflated)
}

// payloadSize is how long the payload of a frame of ours is.
func payloadSize(frame []byte) int {
	h, _, _ := parseHeader(frame)
	return len(frame) - h.size
}

// encode is frameOf for what only this connection gets.
func (c *Conn) encode(op byte, payload []byte) []byte {
	if c.deflates(len(payload)) {
		return deflate(op, payload)
	}
	return newFrame(op, payload)
}

func (c *Conn) deflates(size int) bool {
	return c.window != 0 && size >= minDeflate && (c.window == fullWindow || size <= 1<<c.window)
}
