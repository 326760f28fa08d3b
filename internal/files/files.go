package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// most bounds a file.
const most = 1 << 20

// Read returns what a file holds. Errors begin with its name.
func Read(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, Reason(err))
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, Reason(err))
	case len(b) > most:
		return nil, fmt.Errorf("%s: is larger than 1MiB", name)
	}
	return b, nil
}

// Secret returns what a file holds that has one secret, without the newlines at its end. A
// file without anything else in it is an error.
func Secret(name string) (string, error) {
	b, err := Read(name)
	text := strings.TrimRight(string(b), "\r\n")
	if err == nil && strings.TrimSpace(text) == "" {
		err = fmt.Errorf("%s is empty", name)
	}
	return text, err
}

// Reason is why a file cannot be read, without its name.
func Reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
