package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ask sends a case's bytes and describes what came back: each answer, and what
// became of the connection.
func ask(address string, c *exchange) (string, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	got := ""
	for _, part := range append([]string{c.send}, c.then...) {
		_, unsent := io.WriteString(conn, part)
		more, err := readUntilQuiet(conn)
		got += more
		if err = errors.Join(unsent, err); err != nil {
			return answers(got, c.send) + ", " + ending(err), nil
		}
	}
	return answers(got, c.send) + ", open", nil
}

func readUntilQuiet(conn net.Conn) (string, error) {
	var b bytes.Buffer
	buf := make([]byte, 64<<10)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(quiet))
		n, err := conn.Read(buf)
		b.Write(buf[:n])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return b.String(), nil
		}
		if err != nil {
			return b.String(), err
		}
	}
}

func ending(err error) string {
	if errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		return "closed"
	}
	return "reset"
}

// answers describes responses as net/http reads them.
func answers(got, sent string) string {
	if got == "" {
		return "nothing"
	}
	method, _, _ := strings.Cut(strings.TrimLeft(sent, "\r\n"), " ")
	in := bufio.NewReader(strings.NewReader(got))
	var out []string
	for {
		if _, err := in.Peek(1); err != nil {
			return strings.Join(out, " ")
		}
		resp, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			rest, _ := io.ReadAll(in)
			return strings.Join(append(out, fmt.Sprintf("garbage %.20q", rest)), " ")
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			rest, _ := io.ReadAll(in)
			return strings.Join(append(out, fmt.Sprintf("101 %.20q", rest)), " ")
		}
		body, err := io.ReadAll(resp.Body)
		out = append(out, answer(resp, body, err))
		method = http.MethodGet
	}
}

// answer is a status with what of the case's own body came; error pages differ.
func answer(resp *http.Response, body []byte, err error) string {
	s := fmt.Sprint(resp.StatusCode)
	if resp.StatusCode < 300 && len(body) > 0 {
		s += fmt.Sprintf(" %.30q", body)
	}
	if resp.StatusCode < 300 && len(resp.TransferEncoding) > 0 {
		s += " chunked"
	}
	if err != nil {
		s += " broken"
	}
	return s
}

func sortedList(all []string) string {
	slices.Sort(all)
	return strings.Join(all, " ")
}
