package http1

import "net/http"

// MaxHead is how long a head may be, in bytes, the blank line included (SPEC §7).
const MaxHead = 64 << 10

// Error says why a message is refused.
type Error struct {
	// Status is what a request that is refused so is answered with: 400, 431,
	// 501 or 505. A response that is refused so is 502 to the client.
	Status int
	// Reason is for people; it never repeats what the peer sent.
	Reason string
}

// Error implements error.
func (e *Error) Error() string { return "http1: " + e.Reason }

func bad(reason string) *Error { return &Error{Status: http.StatusBadRequest, Reason: reason} }

// The reasons. They are compared with ==; nobody changes them.
var (
	ErrHeadTooLong   = &Error{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "head is longer than 64 KiB"}
	ErrTooManyLines  = &Error{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "head has too many lines"}
	ErrVersion       = &Error{Status: http.StatusHTTPVersionNotSupported, Reason: "only HTTP/1.0 and HTTP/1.1 are spoken"}
	ErrUnknownCoding = &Error{Status: http.StatusNotImplemented, Reason: "transfer coding is not chunked alone"}

	ErrLineEnd       = bad("a line does not end in CRLF")
	ErrControlByte   = bad("control character in the head")
	ErrRequestLine   = bad("malformed request line")
	ErrStatusLine    = bad("malformed status line")
	ErrTarget        = bad("malformed request target")
	ErrHost          = bad("malformed Host")
	ErrNoHost        = bad("Host is missing")
	ErrTwoHosts      = bad("more than one Host")
	ErrOptions       = bad("Connection has too many options")
	ErrName          = bad("malformed header name")
	ErrFold          = bad("folded header line")
	ErrLength        = bad("malformed Content-Length")
	ErrTwoLengths    = bad("more than one Content-Length")
	ErrLengthAndTE   = bad("both Content-Length and Transfer-Encoding")
	ErrCodingTwice   = bad("Transfer-Encoding is ambiguous")
	ErrCodingInOld   = bad("Transfer-Encoding in HTTP/1.0")
	ErrChunkSize     = bad("malformed chunk size")
	ErrChunkLine     = bad("malformed chunk line")
	ErrChunkEnd      = bad("chunk is not followed by CRLF")
	ErrTrailer       = bad("malformed trailer")
	ErrTrailerLength = bad("trailers are longer than 64 KiB")
)
