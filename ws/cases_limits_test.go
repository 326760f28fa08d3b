package ws

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/race"
)

// TestCases9_Limits has the suite's sizes, but that the fragmented messages of 9.3
// and 9.4 are of 1 MiB instead of 4, which can be echoed whole, and that 9.7 and
// 9.8, which measure, take fewer rounds. The race detector, which looks at every
// byte that is moved, does not get the largest and the finest: make unit runs all of
// them without it too.
func TestCases9_Limits(t *testing.T) {
	const MiB = 1 << 20
	kinds := []struct {
		op   byte
		fill string
	}{{opText, "BAsd7&jh23"}, {opBinary, "\x00\xfe"}}
	of := func(fill string, n int) string { return strings.Repeat(fill, n/len(fill)+1)[:n] }
	var s suite
	for k, kind := range kinds {
		f := func(part, i, size, chop int, frames [][]byte) {
			message := of(kind.fill, size)
			if frames == nil {
				frames = [][]byte{masked(finBit|kind.op, message)}
			}
			s.add(fmt.Sprintf("9.%d.%d", part+k, i+1), fine, send(chop, frames...).hears(reply{finBit | kind.op, echoOf(message)}))
		}
		for i, size := range []int{64 << 10, 256 << 10, MiB, 4 * MiB, 8 * MiB, 16 * MiB} {
			if race.Enabled && size > MiB {
				continue
			}
			f(1, i, size, oneWrite, nil)
		}
		for i, size := range []int{64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, MiB, 4 * MiB} {
			if race.Enabled && size < 4<<10 {
				continue
			}
			f(3, i, MiB, oneWrite, fragments(kind.op, of(kind.fill, MiB), size))
		}
		for i, chop := range []int{64, 128, 256, 512, 1024, 2048} {
			if race.Enabled && chop < 1024 {
				continue
			}
			f(5, i, MiB, chop, nil)
		}
		for i, size := range []int{0, 16, 64, 256, 1024, 4096} {
			message := of(kind.fill, size)
			once := send(oneWrite, masked(finBit|kind.op, message)).hears(reply{finBit | kind.op, echoOf(message)})
			var rounds []step
			for range 50 {
				rounds = append(rounds, once)
			}
			s.add(fmt.Sprintf("9.%d.%d", 7+k, i+1), fine, rounds...)
		}
	}
	s.run(t, func(c *config.Config) { c.WebSocket.MaxMessageSize = 16 * config.MiB })
}

func TestCases10_AutoFragmentation(t *testing.T) {
	var s suite
	s.add("10.1.1", fine, send(oneWrite, fragments(opText, stars(65536), 1300)...).hears(aText(stars(65536))))
	s.run(t, nil)
}
