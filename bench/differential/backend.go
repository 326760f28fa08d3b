package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/pushcart/pushcart/internal/http1"
)

// recorder is a raw backend: it keeps what reaches it, answers the first request
// with what the case says and those behind it with second.
type recorder struct {
	ln net.Listener

	mu     sync.Mutex // guards all below
	answer string
	closes bool // after its answer
	early  bool // does not wait for bodies
	seen   []string
	conns  map[net.Conn]bool
}

const second = "HTTP/1.1 299 Next\r\nContent-Length: 0\r\n\r\n"

func newRecorder() (*recorder, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &recorder{ln: ln, conns: map[net.Conn]bool{}}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.conns[conn] = true
			r.mu.Unlock()
			go r.serve(conn)
		}
	}()
	return r, nil
}

// expect begins a case. No connection is kept from the one before.
func (r *recorder) expect(c *exchange) {
	r.mu.Lock()
	for conn := range r.conns {
		_ = conn.Close()
	}
	r.conns = map[net.Conn]bool{}
	r.answer, r.closes, r.early, r.seen = c.answer, c.closes, c.early, nil
	r.mu.Unlock()
	time.Sleep(noticed)
}

// noticed is how long a proxy may take to see that a kept connection is closed.
const noticed = 120 * time.Millisecond

// got describes what reached the backend.
func (r *recorder) got(sent string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seen) == 0 {
		return "nothing"
	}
	var out []string
	for i, s := range r.seen {
		if i > 0 {
			sent = "" // only the first is compared
		}
		out = append(out, describe(s, sent))
	}
	return strings.Join(out, " | ")
}

func (r *recorder) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		_, err := in.Peek(1)
		if err != nil {
			return
		}
		r.mu.Lock()
		at := len(r.seen)
		r.seen = append(r.seen, "")
		r.mu.Unlock()
		keep := func(s string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			if at < len(r.seen) {
				r.seen[at] += s
			}
		}
		r.mu.Lock()
		early := r.early
		r.mu.Unlock()
		if readRequest(in, keep, early) != nil {
			keep("\x00") // it broke off
			return
		}
		r.mu.Lock()
		answer, closes := second, false
		if at == 0 {
			answer, closes = r.answer, r.closes
		}
		r.mu.Unlock()
		if _, err := io.WriteString(conn, answer); err != nil || closes {
			return
		}
	}
}

// readRequest hands over what it reads as it comes, up to the end that this
// project's own reader of chunks sees, or the end of a stated length.
func readRequest(in *bufio.Reader, keep func(string), headOnly bool) error {
	var head strings.Builder
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		line, err := in.ReadString('\n')
		head.WriteString(line)
		keep(line)
		if err != nil {
			return err
		}
	}
	if headOnly {
		return nil
	}
	lower := strings.ToLower(head.String())
	if strings.Contains(lower, "\r\ntransfer-encoding: chunked\r\n") {
		var chunks http1.Chunks
		for !chunks.Done() {
			b, err := in.ReadByte()
			if err != nil {
				return err
			}
			keep(string(rune(b)))
			if _, _, err := chunks.Scan([]byte{b}); err != nil {
				return err
			}
		}
		return nil
	}
	_, after, _ := strings.Cut(lower, "\r\ncontent-length: ")
	length := 0
	_, _ = fmt.Sscan(after, &length)
	for range min(length, 1<<20) {
		b, err := in.ReadByte()
		if err != nil {
			return err
		}
		keep(string(rune(b)))
	}
	return nil
}

// describe says what became of the request that was sent: its line, the headers
// that are missing, new or changed, and the body.
func describe(got, sent string) string {
	whole := !strings.HasSuffix(got, "\x00")
	head, body, isHead := strings.Cut(strings.TrimSuffix(got, "\x00"), "\r\n\r\n")
	line, fields, _ := strings.Cut(head, "\r\n")
	out := fmt.Sprintf("%.60q", line)
	if sent != "" {
		if d := changes(fields, sent); d != "" {
			out += " " + d
		}
	}
	switch {
	case !isHead:
		out += " head broke off"
	case !whole:
		out += fmt.Sprintf(" body %.30q broke off", body)
	case body != "":
		out += fmt.Sprintf(" body %.50q", body)
	}
	return out
}

// ours are headers that every proxy sets in its own way.
var ours = map[string]bool{"via": true, "x-forwarded-for": true, "x-forwarded-proto": true, "x-forwarded-host": true, "connection": true}

// changes compares header lines, whatever their order and the names' case.
func changes(got, sent string) string {
	head, _, _ := strings.Cut(strings.TrimLeft(sent, "\r\n"), "\r\n\r\n")
	_, fields, _ := strings.Cut(head, "\r\n")
	before, after := lines(fields), lines(got)
	var out []string
	for l, n := range before {
		if after[l] < n {
			out = append(out, "-"+l)
		}
	}
	for l, n := range after {
		if before[l] < n {
			out = append(out, "+"+l)
		}
	}
	return sortedList(out)
}

func lines(fields string) map[string]int {
	out := map[string]int{}
	for l := range strings.SplitSeq(fields, "\r\n") {
		name, value, _ := strings.Cut(l, ":")
		if name = strings.ToLower(name); name != "" && !ours[name] {
			out[fmt.Sprintf("%.20q", name+":"+strings.Trim(value, " \t"))]++
		}
	}
	return out
}

func (r *recorder) close() {
	_ = r.ln.Close()
	r.expect(&exchange{})
}

// quiet is after which silence nothing more is waited for.
const quiet = 300 * time.Millisecond
