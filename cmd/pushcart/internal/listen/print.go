package listen

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/pushcart/pushcart/internal/plainjson"
)

// printer shows what comes.
type printer struct {
	json, frames bool
	out          io.Writer
}

// line is an object of the JSON form.
type line struct {
	Time string `json:"time"`
	// Type is text, binary, frame, or close.
	Type   string          `json:"type"`
	Data   *string         `json:"data,omitempty"`
	Base64 *string         `json:"data_base64,omitempty"`
	Frame  json.RawMessage `json:"frame,omitempty"`
	Code   int             `json:"code,omitempty"`
	Reason string          `json:"reason,omitempty"`
}

// show shows what came. counts: it is a message, not a frame about the connection.
func (p *printer) show(binary bool, data []byte) (counts bool, err error) {
	if !p.frames || binary {
		return true, p.message(binary, data)
	}
	text, f, ok := shownFrame(data)
	switch {
	case !ok:
		return true, p.message(false, data)
	case p.json:
		return f.isMessage(), p.object(time.Now(), line{Type: "frame", Frame: data})
	}
	return f.isMessage(), p.text(time.Now(), indented(safe(text)))
}

// message shows one message: binary as base64, marked as such.
func (p *printer) message(binary bool, data []byte) error {
	now := time.Now()
	if p.json {
		l := line{Type: "text"}
		text := string(data)
		if l.Data = &text; binary {
			encoded := base64.StdEncoding.EncodeToString(data)
			l = line{Type: "binary", Base64: &encoded}
		}
		return p.object(now, l)
	}
	text := indented(safe(string(data)))
	if binary {
		text = fmt.Sprintf("[binary, %d bytes, base64] %s", len(data), base64.StdEncoding.EncodeToString(data))
	}
	return p.text(now, text)
}

// text writes one line for people.
func (p *printer) text(now time.Time, text string) error {
	_, err := fmt.Fprintf(p.out, "%s %s\n", now.Format(clock), text)
	return err
}

// clock is how times are shown.
const clock = "15:04:05.000"

// object writes one line of JSON.
func (p *printer) object(now time.Time, l line) error {
	l.Time = now.Format("2006-01-02T15:04:05.000Z07:00")
	b, err := plainjson.Append(nil, l)
	if err != nil {
		return err
	}
	_, err = p.out.Write(append(b, '\n'))
	return err
}

// indented puts further lines of a message below its first, so that none passes for
// a message of its own.
func indented(text string) string {
	return strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", len(clock)+1))
}

// safe shows control characters instead of carrying them out: a message must not
// drive the terminal.
func safe(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD") // a stray byte may be a control character to a terminal
	if !strings.ContainsFunc(text, drives) {
		return text
	}
	var out strings.Builder
	for _, c := range text {
		if drives(c) {
			fmt.Fprintf(&out, "\\x%02x", c)
		} else {
			out.WriteRune(c)
		}
	}
	return out.String()
}

func drives(c rune) bool { return unicode.IsControl(c) && c != '\n' && c != '\t' }
