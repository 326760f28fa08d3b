package ws

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pushcart/pushcart/internal/http1"
)

// permessage-deflate (RFC 7692) is spoken without context takeover only: nothing
// of a connection is held between two messages, and one deflated frame serves
// everybody who gets the message.
const extensionDeflate = "permessage-deflate"

// fullWindow is the LZ77 window of 32 KiB, as its base-2 logarithm; a connection
// that says less can be sent longer messages only as they are.
const (
	fullWindow = 15
	leastBits  = 8
)

// deflateOffer is one acceptable offer of permessage-deflate.
type deflateOffer struct {
	window  uint8 // of what the server sends
	bounded bool  // the client asked for it
}

// chooseDeflate takes the first offer in the values of Sec-WebSocket-Extensions
// that can be kept; false: none. Offers with parameters that RFC 7692 §7.1 does
// not know, or with values that it forbids, are declined (§7.1.3).
func chooseDeflate(header string) (deflateOffer, bool) {
	for offer := range http1.Items(header) {
		name, params, _ := strings.Cut(offer, ";")
		if strings.EqualFold(strings.TrimSpace(name), extensionDeflate) {
			if o, ok := parseDeflateOffer(params); ok {
				return o, true
			}
		}
	}
	return deflateOffer{}, false
}

func parseDeflateOffer(params string) (deflateOffer, bool) {
	o := deflateOffer{window: fullWindow}
	if strings.TrimSpace(params) == "" {
		return o, true
	}
	var seen []string
	for param := range strings.SplitSeq(params, ";") {
		name, value, valued := strings.Cut(param, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if slices.Contains(seen, name) {
			return o, false
		}
		seen = append(seen, name)
		bits, good := windowBits(value)
		switch {
		case name == "server_no_context_takeover" && !valued, name == "client_no_context_takeover" && !valued:
		case name == "client_max_window_bits" && (!valued || good): // any window of theirs can be read
		case name == "server_max_window_bits" && good:
			o.window, o.bounded = bits, true
		default:
			return o, false
		}
	}
	return o, true
}

// windowBits reads 8 to 15, without leading zeros, perhaps quoted (RFC 6455 §9.1).
func windowBits(value string) (uint8, bool) {
	value = strings.TrimSpace(value)
	if len(value) > 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	n, err := strconv.ParseUint(value, 10, 8)
	if err != nil || n < leastBits || n > fullWindow || strconv.FormatUint(n, 10) != value {
		return 0, false
	}
	return uint8(n), true
}

// answer is the value of Sec-WebSocket-Extensions that accepts the offer.
func (o deflateOffer) answer() string {
	s := extensionDeflate + "; server_no_context_takeover; client_no_context_takeover"
	if o.bounded {
		s += "; server_max_window_bits=" + strconv.Itoa(int(o.window))
	}
	return s
}
