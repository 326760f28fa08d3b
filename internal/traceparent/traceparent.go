package traceparent

import (
	"encoding/hex"
	"math/rand/v2"
	"strings"
)

// Size is that of version 00, in bytes: 00-<32 hex>-<16 hex>-<2 hex>.
const Size = 55

// Keep returns the header's value as it may go on. Of a version above 00 it is what
// version 00 knows. ok is false where a receiver would begin a new trace.
func Keep(header string) (value string, ok bool) {
	if len(header) < Size || header[2] != '-' || header[35] != '-' || header[52] != '-' {
		return "", false
	}
	version, trace, parent, flags := header[:2], header[3:35], header[36:52], header[53:Size]
	for _, part := range []string{version, trace, parent, flags} {
		if strings.Trim(part, "0123456789abcdef") != "" {
			return "", false
		}
	}
	rest := header[Size:]
	switch {
	case version == "ff", strings.Trim(trace, "0") == "", strings.Trim(parent, "0") == "":
		return "", false
	case version == "00" && rest != "", rest != "" && rest[0] != '-':
		return "", false
	}
	return "00" + header[2:Size], true
}

// Append appends the value that begins the trace of the given id, which must not be
// zero, with a new parent. It says that the trace is sampled: a receiver that follows
// the flag would else never record what begins here.
func Append(b []byte, trace [16]byte) []byte {
	var parent [8]byte
	for n, i := rand.Uint64()|1, 0; i < len(parent); i++ { // zero would be none
		parent[i] = byte(n >> (8 * i))
	}
	b = hex.AppendEncode(append(b, "00-"...), trace[:])
	b = hex.AppendEncode(append(b, '-'), parent[:])
	return append(b, "-01"...)
}
