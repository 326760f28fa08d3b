package names

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLength of a user_id or channel, in bytes.
const MaxLength = 255

// The ways in which a name can be wrong.
var (
	ErrEmpty    = errors.New("must not be empty")
	ErrTooLong  = errors.New("must not be longer than 255 bytes")
	ErrEncoding = errors.New("must be UTF-8 without control characters")
	ErrPattern  = errors.New("must not contain *")
)

// CheckUser says what is wrong with a user_id; "" is not one.
func CheckUser(s string) error {
	switch {
	case s == "":
		return ErrEmpty
	case len(s) > MaxLength:
		return ErrTooLong
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		return ErrEncoding
	}
	return nil
}

// CheckChannel says what is wrong with a channel's name.
func CheckChannel(s string) error {
	if err := CheckUser(s); err != nil {
		return err
	}
	if strings.Contains(s, "*") {
		return ErrPattern
	}
	return nil
}
