package http1_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/http1"
)

func TestParseRequest_TakesUpTo128Lines(t *testing.T) {
	f := func(lines int, want error) {
		t.Helper()
		var r http1.Request
		head := "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("aa:\r\n", lines-1) + "\r\n"
		if err := http1.ParseRequest([]byte(head), &r); !errors.Is(err, want) {
			t.Errorf("%d lines: got %v, want %v", lines, err, want)
		}
	}
	f(128, nil)
	f(129, http1.ErrTooManyLines)
	if http1.ErrTooManyLines.Status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", http1.ErrTooManyLines.Status)
	}
}

func TestParseResponse_TakesUpTo512Lines(t *testing.T) {
	f := func(lines int, want error) {
		t.Helper()
		var r http1.Response
		head := "HTTP/1.1 200 OK\r\n" + strings.Repeat("aa:\r\n", lines) + "\r\n"
		if err := http1.ParseResponse([]byte(head), &r); !errors.Is(err, want) {
			t.Errorf("%d lines: got %v, want %v", lines, err, want)
		}
	}
	f(512, nil)
	f(513, http1.ErrTooManyLines)
}

// RFC 9110 §8.6 allows leading zeros, but readers differ over whether they are octal.
func TestContentLength_HasNoLeadingZero(t *testing.T) {
	f := func(value string, want error) {
		t.Helper()
		var r http1.Request
		err := http1.ParseRequest([]byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: "+value+"\r\n\r\n"), &r)
		if !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", value, err, want)
		}
	}
	f("0", nil)
	f("10", nil)
	f("010", http1.ErrLength)
	f("00", http1.ErrLength)
}

func TestBindsConnection(t *testing.T) {
	f := func(line string, want bool) {
		t.Helper()
		var req http1.Request
		var resp http1.Response
		if err := http1.ParseRequest([]byte("GET / HTTP/1.1\r\nHost: a\r\n"+line+"\r\n\r\n"), &req); err != nil {
			t.Fatal(err)
		}
		if err := http1.ParseResponse([]byte("HTTP/1.1 401 No\r\n"+line+"\r\n\r\n"), &resp); err != nil {
			t.Fatal(err)
		}
		if req.BindsConnection != want || resp.BindsConnection != want {
			t.Errorf("%q: got %v and %v, want %v", line, req.BindsConnection, resp.BindsConnection, want)
		}
	}
	f("Authorization: NTLM TlRMTVNTUAAB", true)
	f("authorization: negotiate YII", true)
	f("WWW-Authenticate: Negotiate", true)
	f("WWW-AUTHENTICATE: ntlm", true)
	f("WWW-Authenticate: Basic realm=\"a\", Negotiate,NTLM", true)
	f("WWW-Authenticate: Basic realm=\"a\"\r\nWWW-Authenticate:\tNTLM\tx", true)
	f("WWW-Authenticate: , ,NTLM", true)
	f("Authorization: Bearer NTLM", false)
	f("Authorization: Basic x", false)
	f("WWW-Authenticate: NTLMv2, Negotiated", false)
	f("Proxy-Authorization: NTLM x", false)
	f("X: NTLM", false)
}

func TestChunkExtensions_FollowTheGrammar(t *testing.T) {
	f := func(extension string, good bool) {
		t.Helper()
		var c http1.Chunks
		_, _, err := c.Scan([]byte("1" + extension + "\r\na\r\n"))
		if (err == nil) != good {
			t.Errorf("%q: %v", extension, err)
		}
	}
	for _, s := range []string{
		";a", ";a=b", "; a", ";\ta = b", ";a=b;c", ";a ;b", ";a=b ; c=\"d\"", `;a=""`, `;a="b\"c;d"`, `;a="b" ;c`, ";a=\"\xe9\"", ";a= \"b\"",
	} {
		f(s, true)
	}
	for _, s := range []string{
		";", ";a=", ";=b", ";;a", ";a;", ";a b", ";a=b c", `;a="b`, `;a="b"c`, `;a="b""c"`, `;"a"`, `;a=b"c"`, ";a=b=c", ";a\x01", ";a=\xe9",
		";a ", ";a=b ", `;a="b" `, "; ", " ;a", "\t;a", ";a=\"\x01\"", ";a=\"\\\x01\"", ",a",
	} {
		f(s, false)
	}
}
