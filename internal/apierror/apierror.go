package apierror

import (
	"encoding/json"
	"net/http"
)

// Code names a kind of failure; it never changes its meaning.
type Code string

// The codes of SPEC §6.3.
const (
	InvalidArgument  Code = "invalid_argument"
	Rejected         Code = "rejected"
	Unauthenticated  Code = "unauthenticated"
	Forbidden        Code = "forbidden"
	NotFound         Code = "not_found"
	MethodNotAllowed Code = "method_not_allowed"
	Conflict         Code = "conflict"
	TooLarge         Code = "too_large"
	UnsupportedType  Code = "unsupported_type"
	RateLimited      Code = "rate_limited"
	Internal         Code = "internal"
	BackendError     Code = "backend_error"
	Unavailable      Code = "unavailable"
	BackendTimeout   Code = "backend_timeout"
)

// Status is the HTTP status that goes with the code.
func (c Code) Status() int {
	switch c {
	case InvalidArgument, Rejected:
		return http.StatusBadRequest
	case Unauthenticated:
		return http.StatusUnauthorized
	case Forbidden:
		return http.StatusForbidden
	case NotFound:
		return http.StatusNotFound
	case MethodNotAllowed:
		return http.StatusMethodNotAllowed
	case Conflict:
		return http.StatusConflict
	case TooLarge:
		return http.StatusRequestEntityTooLarge
	case UnsupportedType:
		return http.StatusUnsupportedMediaType
	case RateLimited:
		return http.StatusTooManyRequests
	case BackendError:
		return http.StatusBadGateway
	case Unavailable:
		return http.StatusServiceUnavailable
	case BackendTimeout:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// Error is a failure in the words of the caller. It is an error value; AsJSON is
// its wire form.
type Error struct {
	// Code is the kind.
	Code Code `json:"code"`
	// Message says what is wrong, beginning with Field where there is one.
	Message string `json:"message"`
	// Field is the path of the bad value, like "to.users[3]".
	Field string `json:"field,omitempty"`
	// ID is the push's id, where a retry with it is safe.
	ID string `json:"id,omitempty"`
}

// New returns an error without a field.
func New(code Code, message string) *Error { return &Error{Code: code, Message: message} }

// Invalid returns an invalid_argument that names the bad field.
func Invalid(field, problem string) *Error {
	return &Error{Code: InvalidArgument, Message: field + ": " + problem, Field: field}
}

// Error implements error.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// AsJSON returns {"error":{…}}.
func (e *Error) AsJSON() []byte {
	b, err := json.Marshal(struct {
		Error *Error `json:"error"`
	}{e})
	if err != nil { // strings only: cannot happen
		return []byte(`{"error":{"code":"internal","message":"internal error"}}`)
	}
	return b
}
