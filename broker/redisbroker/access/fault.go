package access

import (
	"errors"
	"fmt"
)

// Fault is why a server cannot be used as things are configured here, or there: trying again
// helps only when somebody changes that.
type Fault struct {
	// Key is the key of the configuration to look at.
	Key string

	text  string
	cause error
}

// NewFault returns one with a text, which ends with the key. cause may be nil.
func NewFault(key string, cause error, format string, args ...any) *Fault {
	return &Fault{Key: key, text: fmt.Sprintf(format, args...), cause: cause}
}

func (f *Fault) Error() string { return f.text + ": see " + f.Key }

// Unwrap is the cause, or nil.
func (f *Fault) Unwrap() error { return f.cause }

// KeyOf is the key of the configuration that an error asks to look at, "" if none.
func KeyOf(err error) string {
	var f *Fault
	if errors.As(err, &f) {
		return f.Key
	}
	return ""
}
