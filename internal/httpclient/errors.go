package httpclient

import (
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/valyala/fasthttp"
)

// Errors of Do and Fetch; match with errors.Is.
var (
	// ErrNoConnection: the server cannot have seen anything.
	ErrNoConnection = errors.New("no connection")
	// ErrClosed: the connection ended before the first byte of an answer.
	ErrClosed = errors.New("the connection was closed without an answer")
	// ErrTimeout: no answer, or not all of it, came in time.
	ErrTimeout = errors.New("no answer in time")
	// ErrBodyTooLarge: the body is over the bound. The head is there.
	ErrBodyTooLarge = errors.New("the answer's body is too large")
	// ErrHeadTooLarge: the head is over MaxHead.
	ErrHeadTooLarge = errors.New("the answer's head is larger than 64 KiB")
	// ErrBroken: the connection ended within the answer.
	ErrBroken = errors.New("the answer broke off")
	// ErrMalformed: what came is not HTTP/1.
	ErrMalformed = errors.New("the answer is not HTTP/1.1")
)

// inOurWords replaces the library's errors, which advise on settings that are not
// ours and may quote the answer.
func inOurWords(err error) error {
	var netErr net.Error
	var op *net.OpError
	var head *fasthttp.ErrSmallBuffer
	switch {
	case err == nil, errors.Is(err, ErrNoConnection):
		return err
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		return ErrBodyTooLarge
	case errors.Is(err, fasthttp.ErrTimeout), errors.As(err, &netErr) && netErr.Timeout():
		return ErrTimeout
	case errors.Is(err, fasthttp.ErrNoFreeConns):
		return fmt.Errorf("%w: none is free", ErrNoConnection)
	case errors.Is(err, fasthttp.ErrConnectionClosed):
		return ErrClosed
	case errors.As(err, &op) && op.Op == "write":
		return fmt.Errorf("%w: %w", ErrClosed, op.Err)
	case errors.As(err, &op):
		return fmt.Errorf("%w: %w", ErrBroken, op.Err)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return ErrBroken
	case errors.As(err, &head):
		return ErrHeadTooLarge
	}
	return ErrMalformed
}
