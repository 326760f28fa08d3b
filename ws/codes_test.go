package ws

import (
	"github.com/pushcart/pushcart/protocol"
)

// Close codes as these tests expect them on the wire; 1005 and 1006 never are.
const (
	CodeNormal        = protocol.CodeNormal
	CodeProtocolError = protocol.CodeProtocolError
	CodeNoStatus      = codeNoStatus
	CodeAbnormal      = codeAbnormal
	CodeInvalidUTF8   = protocol.CodeInvalidUTF8
	CodeTooBig        = protocol.CodeTooBig
	CodeRestart       = protocol.CodeRestart
	CodeExpired       = protocol.CodeExpired
	CodeReplaced      = protocol.CodeReplaced
)

// endCode is the code that c ends with, 0 if it does not.
func endCode(c *Conn) int {
	if c.ended == nil {
		return 0
	}
	code, _ := c.codec().protocol.Code(c.ended)
	return code
}
