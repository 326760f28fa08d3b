package ws

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/config"
)

// bare is a Close with any payload.
func bare(payload string) []byte { return masked(finBit|opClose, payload) }

// farewell is the server's answer to a Close.
func farewell(payload string) reply { return reply{finBit | opClose, payload} }

func TestCases7_Close(t *testing.T) {
	const hello = "Hello World!"
	var s suite
	// Of the cases with code fine, run sends the Close itself.
	s.echo("7.1.1", opText, hello, oneWrite)
	s.add("7.1.2", CodeNormal+2000, send(oneWrite, closing(3000, ""), closing(3001, "")))
	s.add("7.1.3", CodeNormal+2000, send(oneWrite, closing(3000, ""), ping("")))
	s.add("7.1.4", CodeNormal+2000, send(oneWrite, closing(3000, ""), say(hello)))
	s.add("7.1.5", CodeNormal+2000, send(oneWrite, masked(opText, "fragment1"), closing(3000, ""), masked(finCont, "fragment2")))
	large := strings.Repeat("BAsd7&jh23", 256<<10/10)
	s.add("7.1.6", CodeNormal+2000, send(oneWrite, say(large), say(hello), closing(3000, ""), ping("")).
		hears(aText(large), aText(hello)))

	s.add("7.3.1", CodeNoStatus, send(oneWrite, bare("")))
	s.add("7.3.2", CodeProtocolError, send(oneWrite, bare("a")))
	s.add("7.3.3", fine)
	s.add("7.3.4", CodeNormal+2000, send(oneWrite, closing(3000, hello)))
	s.add("7.3.5", CodeNormal+2000, send(oneWrite, closing(3000, stars(123))))
	s.add("7.3.6", CodeProtocolError, send(oneWrite, closing(CodeNormal, stars(124))))
	s.add("7.5.1", CodeInvalidUTF8, send(oneWrite, closing(CodeNormal, kosme+"\xed\xa0\x80edited")))
	s.add("7.13.1", CodeProtocolError, send(oneWrite, closing(5000, "")))
	s.add("7.13.2", CodeProtocolError, send(oneWrite, closing(65535, "")))

	// 1012 to 1014 were registered after RFC 6455; old editions of the suite had
	// them in 7.9.
	for i, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999, 1012, 1013, 1014} {
		s.add(fmt.Sprintf("7.7.%d", i+1), code, send(oneWrite, closing(code, "")))
	}
	for i, code := range []int{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 1015} {
		s.add(fmt.Sprintf("7.9.%d", i+1), CodeProtocolError, send(oneWrite, closing(code, "")))
	}
	s.run(t, func(c *config.Config) { c.WebSocket.MaxMessageSize = 256 * config.KiB })
}

// TestCases7_TheAnswerIsTheSameCloseAgain: RFC 6455 §5.5.1 wants the code; the
// reason comes along. Every code, in one write and by octets, and with a message
// that is not complete.
func TestCases7_TheAnswerIsTheSameCloseAgain(t *testing.T) {
	onEveryRoad(t, nil, func(t *testing.T, n *node) {
		for code := range 5100 {
			if code > 1020 && code%503 != 0 && code != 3000 && code != 4999 && code != 5000 {
				continue // all of the RFC's, and samples of the rest
			}
			valid := code >= 3000 && code <= 4999 || code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006
			if !valid && code < 990 && code%97 != 0 {
				continue
			}
			c, _ := n.connect(t, "", nil)
			c.write(join(masked(opText, "unfinished"), closing(code, "Tschüß")), code%2)
			if !valid {
				c.hearsClose(CodeProtocolError)
				continue
			}
			c.hears(farewell(string([]byte{byte(code >> 8), byte(code)}) + "Tschüß"))
			if _, err := c.next(); err == nil || err.Error() != "EOF" {
				t.Fatalf("code %d: after the Close came %v", code, err)
			}
			_ = c.conn.Close()
		}
	})
}
