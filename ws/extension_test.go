package ws

import (
	"strings"
	"testing"
)

func TestChooseDeflate(t *testing.T) {
	const plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	f := func(header, want string) {
		t.Helper()
		o, ok := chooseDeflate(header)
		got := ""
		if ok {
			got = o.answer()
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", header, got, want)
		}
	}
	f("permessage-deflate", plain)
	f("permessage-deflate; client_max_window_bits", plain) // what browsers send
	f("permessage-deflate; client_max_window_bits=10", plain)
	f("Permessage-Deflate ; Client_No_Context_Takeover; server_no_context_takeover", plain)
	f("permessage-deflate; server_max_window_bits=10", plain+"; server_max_window_bits=10")
	f(`permessage-deflate; server_max_window_bits="15"`, plain+"; server_max_window_bits=15")
	f("x-webkit-deflate-frame, permessage-deflate", plain)
	f("permessage-deflate; server_max_window_bits=7, permessage-deflate", plain) // the second is good

	f("", "")
	f("x-webkit-deflate-frame", "")
	f("permessage-deflate-x", "")
	f("permessage-deflate; unknown", "")
	f("permessage-deflate; client_max_window_bits; client_max_window_bits", "")
	f("permessage-deflate; client_max_window_bits=", "")
	f("permessage-deflate; client_max_window_bits=16", "")
	f("permessage-deflate; client_max_window_bits=08", "")
	f("permessage-deflate; client_max_window_bits=x", "")
	f("permessage-deflate; server_max_window_bits", "")
	f("permessage-deflate; server_max_window_bits=8.0", "")
	f("permessage-deflate; server_no_context_takeover=1", "")
	f("permessage-deflate; client_no_context_takeover=true", "")
}

func FuzzChooseDeflate(f *testing.F) {
	f.Add(`permessage-deflate; server_max_window_bits="10"; client_max_window_bits, permessage-deflate`)
	f.Fuzz(func(t *testing.T, header string) {
		o, ok := chooseDeflate(header)
		switch {
		case !ok:
		case o.window < leastBits || o.window > fullWindow:
			t.Errorf("%q: window %d", header, o.window)
		case strings.ContainsAny(o.answer(), "\r\n"):
			t.Errorf("%q: answer %q", header, o.answer())
		}
	})
}
