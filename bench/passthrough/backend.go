package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

// runBackend is the server behind all: GET /bytes/N answers N bytes, POST /sink
// takes a body. It is as cheap as it can be made simply.
func runBackend() error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	context.AfterFunc(ctx, func() { _ = ln.Close() })
	for {
		conn, err := ln.Accept()
		if err != nil {
			return nil
		}
		go answerAll(conn)
	}
}

func answerAll(conn net.Conn) {
	defer conn.Close()
	answers := map[int][]byte{}
	in := bufio.NewReaderSize(conn, 4<<10)
	for {
		head, err := readHead(in)
		if err != nil {
			return
		}
		if bytes.HasPrefix(head, []byte("POST")) { // HAProxy sends names in lower case
			if _, err := io.CopyN(io.Discard, in, int64(number(bytes.ToLower(head), "content-length: "))); err != nil {
				return
			}
		}
		size := number(head, "/bytes/")
		answer := answers[size]
		if answer == nil {
			answer = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Mon, 23 Nov 2026 10:00:00 GMT\r\n"+
				"Content-Type: application/octet-stream\r\nContent-Length: %d\r\nCache-Control: no-store\r\n\r\n%s",
				size, block[:size%len(block)])
			answers[size] = answer
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
		for left := size - size%len(block); left > 0; left -= len(block) {
			if _, err := io.WriteString(conn, block); err != nil {
				return
			}
		}
	}
}

// block is what a body is made of.
var block = strings.Repeat("x", 256<<10)

// readHead returns a head that is good until the next read.
func readHead(in *bufio.Reader) ([]byte, error) {
	if _, err := in.Peek(1); err != nil {
		return nil, err
	}
	for {
		b, _ := in.Peek(in.Buffered())
		if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
			_, err := in.Discard(i + 4)
			return b[:i+4], err
		}
		if _, err := in.Peek(in.Buffered() + 1); err != nil {
			return nil, err
		}
	}
}

func number(head []byte, after string) int {
	i := bytes.Index(head, []byte(after))
	if i < 0 {
		return 0
	}
	rest := head[i+len(after):]
	end := 0
	for end < len(rest) && '0' <= rest[end] && rest[end] <= '9' {
		end++
	}
	n, _ := strconv.Atoi(string(rest[:end]))
	return n
}
