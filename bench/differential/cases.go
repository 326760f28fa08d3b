package main

import (
	"fmt"
	"strings"
)

const (
	host = "Host: app.example\r\n"
	get  = "GET /first HTTP/1.1\r\n" + host + "\r\n"
	next = "GET /next HTTP/1.1\r\n" + host + "\r\n"
	ok   = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
)

// cases is the table. A note says why pushcart differs from both others where that
// is meant.
func cases() (all []exchange) {
	for _, group := range [][]exchange{requestLines(), hosts(), fields(), lengths(), chunkedBodies(), connections(), answersOfBackends()} {
		all = append(all, group...)
	}
	for i := range all {
		if all[i].answer == "" && !all[i].closes {
			all[i].answer = ok
		}
	}
	return all
}

// Reasons that several cases share.
const (
	strict    = "SPEC §11: refused, as another reader may see another message in it"
	fromURI   = "RFC 9112 §3.2.2: the target's authority counts, and becomes Host"
	hopByHop  = "RFC 9110 §7.6.1: what is for one hop stays behind"
	larger    = "SPEC §7: heads of up to 64 KiB pass; past it 431 says why"
	untouched = "SPEC §7: chunks pass as they came, extensions, trailers and unfinished ones included"
	faulty    = "SPEC §7: an answer that two readers may read in two ways is 502"
)

func requestLines() (all []exchange) {
	f := func(name, line, note string) {
		all = append(all, exchange{group: "request line", name: name, send: line + "\r\n" + host + "\r\n", note: note})
	}
	f("plain", "GET /a?b=c HTTP/1.1", "")
	f("double slash, dots, encoded slash", "GET //a/../b%2fc/./d HTTP/1.1", "")
	f("empty query", "GET /a? HTTP/1.1", "")
	f("fragment", "GET /a#b HTTP/1.1", "")
	f("bad escape", "GET /%zz HTTP/1.1", "")
	f("bytes past ASCII", "GET /caf\xc3\xa9 HTTP/1.1", "")
	f("quotes and braces", "GET /\"<>{}|^` HTTP/1.1", "")
	f("backslash", "GET /a\\b HTTP/1.1", "")
	f("NUL escaped", "GET /a%00b HTTP/1.1", "")
	f("absolute-form", "GET http://other.example/a?b HTTP/1.1", fromURI)
	f("absolute-form without path", "GET http://other.example HTTP/1.1", fromURI)
	f("absolute-form, another scheme", "GET ftp://other.example/a HTTP/1.1", "")
	f("asterisk", "OPTIONS * HTTP/1.1", "")
	f("asterisk with GET", "GET * HTTP/1.1", "")
	f("no slash", "GET a HTTP/1.1", "")
	f("method of lower case", "get / HTTP/1.1", "")
	f("unknown method", "FROBNICATE / HTTP/1.1", "")
	f("method that is no token", "G(T / HTTP/1.1", "")
	f("TRACE", "TRACE / HTTP/1.1", "")
	f("CONNECT", "CONNECT app.example:80 HTTP/1.1", "SPEC §7: CONNECT is 405")
	f("two spaces", "GET  / HTTP/1.1", strict)
	f("tab", "GET\t/ HTTP/1.1", "")
	f("space at the end", "GET / HTTP/1.1 ", "")
	f("space in the target", "GET /a b HTTP/1.1", "")
	f("space at the start", " GET / HTTP/1.1", "")
	f("HTTP/0.9", "GET /", "")
	f("HTTP/1.2", "GET / HTTP/1.2", "there is no such version")
	f("HTTP/2.0", "GET / HTTP/2.0", "")
	f("version of lower case", "GET / http/1.1", "")
	f("control character", "GET /\x01 HTTP/1.1", "")
	f("DEL", "GET /\x7f HTTP/1.1", "")
	f("NUL", "GET /\x00 HTTP/1.1", "")
	f("bare CR", "GET /\rX HTTP/1.1", "")
	f("one empty line before", "\r\nGET / HTTP/1.1", "")
	f("two empty lines before", "\r\n\r\nGET / HTTP/1.1", "")
	f("long target", "GET /"+strings.Repeat("a", 7000)+" HTTP/1.1", "")
	return all
}

func hosts() (all []exchange) {
	f := func(name, lines, note string) {
		all = append(all, exchange{group: "Host", name: name, send: "GET / HTTP/1.1\r\n" + lines + "\r\n", note: note})
	}
	f("none", "", "")
	f("two equal", host+host, "")
	f("two that differ", host+"Host: other\r\n", "")
	f("empty", "Host:\r\n", "")
	f("userinfo", "Host: user@app.example\r\n", strict)
	f("path", "Host: app.example/x\r\n", "")
	f("list", "Host: app.example, other\r\n", "")
	f("bad port", "Host: app.example:x\r\n", "RFC 9112 §3.2: an invalid Host is 400")
	f("port", "Host: app.example:8080\r\n", "")
	f("IPv6", "Host: [::1]:80\r\n", "")
	f("upper case", "Host: APP.example\r\n", "")
	all = append(all,
		exchange{group: "Host", name: "absolute-form with another Host", send: "GET http://other.example/ HTTP/1.1\r\n" + host + "\r\n", note: fromURI},
		exchange{group: "Host", name: "HTTP/1.0 without", send: "GET / HTTP/1.0\r\n\r\n",
			note: "to the backend all is HTTP/1.1, which wants a Host: it gets its own"})
	return all
}

func fields() (all []exchange) {
	f := func(name, lines, note string) {
		all = append(all, exchange{group: "header", name: name, send: "GET / HTTP/1.1\r\n" + host + lines + "\r\n", note: note})
	}
	f("empty value", "X:\r\n", "")
	f("repeated", "X: 1\r\nX: 2\r\nx: 3\r\n", "")
	f("underscore", "X_Y: 1\r\n", "")
	f("dot", "X.Y: 1\r\n", "")
	f("bytes past ASCII in the value", "X: caf\xc3\xa9\r\n", "")
	f("bytes past ASCII in the name", "X\xc3\xa9: 1\r\n", "")
	f("space before colon", "X : 1\r\n", "")
	f("tab before colon", "X\t: 1\r\n", "")
	f("no colon", "X\r\n", "")
	f("no name", ": 1\r\n", "")
	f("space in the name", "X Y: 1\r\n", "")
	f("folded", "X: 1\r\n two\r\n", "")
	f("folded first line", " X: 1\r\n", "")
	f("bare LF at the end of a line", "X: 1\nY: 2\r\n", strict)
	f("bare LF at the end of the head", "X: 1\r\n\n", strict)
	f("bare CR in a value", "X: 1\r2\r\n", "")
	f("NUL in a value", "X: a\x00b\r\n", "")
	f("control character in a value", "X: a\x01b\r\n", strict)
	f("tab in a value", "X: a\tb\r\n", "")
	f("named by Connection", "Connection: X, close\r\nX: 1\r\n", hopByHop)
	f("Connection names Host", "Connection: Host\r\n", "")
	f("Keep-Alive and Proxy-Connection", "Keep-Alive: 5\r\nProxy-Connection: close\r\n", hopByHop)
	f("TE", "TE: gzip, trailers\r\nConnection: TE\r\n", "")
	f("Proxy-Authorization", "Proxy-Authorization: Basic eA==\r\n", hopByHop)
	f("Expect that is unknown", "Expect: x\r\n", "")
	f("X-Forwarded-For of a stranger", "X-Forwarded-For: 1.1.1.1\r\n", "")
	f("X_Forwarded_For of a stranger", "X_Forwarded_For: 1.1.1.1\r\n", "")
	f("Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n", hopByHop)
	f("10 KiB", "X: "+strings.Repeat("a", 7000)+"\r\nY: "+strings.Repeat("b", 3000)+"\r\n", "")
	f("30 KiB in one line", "X: "+strings.Repeat("a", 30000)+"\r\n", larger)
	f("70 KiB", "X: "+strings.Repeat("a", 70000)+"\r\n", larger)
	f("300 lines", strings.Repeat("X: 1\r\n", 300), "")
	return all
}

func lengths() (all []exchange) {
	f := func(name, lines, body, note string) {
		all = append(all, exchange{group: "length", name: name, send: "POST / HTTP/1.1\r\n" + host + lines + "\r\n" + body, note: note})
	}
	f("plain", "Content-Length: 5\r\n", "hello", "")
	f("GET-like without a body", "", "", "")
	f("body too long: a second request", "Content-Length: 5\r\n", "hello"+next, "")
	f("body too short", "Content-Length: 50\r\n", "hello", "")
	f("twice, equal", "Content-Length: 5\r\nContent-Length: 5\r\n", "hello", "")
	f("twice, differing", "Content-Length: 5\r\nContent-Length: 6\r\n", "hello!", "")
	f("list of equals", "Content-Length: 5, 5\r\n", "hello", "")
	f("plus", "Content-Length: +5\r\n", "hello", "")
	f("minus", "Content-Length: -5\r\n", "hello", "")
	f("hexadecimal", "Content-Length: 0x5\r\n", "hello", "")
	f("leading zeros", "Content-Length: 005\r\n", "hello", "")
	f("empty", "Content-Length:\r\n", "hello", "")
	f("too large", "Content-Length: 99999999999999999999\r\n", "hello", "")
	f("with Transfer-Encoding", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"+next, "")
	f("Transfer-Encoding first", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"+next, "")
	f("chunked twice", "Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n", "")
	f("chunked in two lines", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", "")
	f("identity", "Transfer-Encoding: identity\r\n", "", "")
	f("gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n", "")
	f("chunked, identity", "Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n", "")
	f("coding unknown", "Transfer-Encoding: xchunked\r\n", "0\r\n\r\n", "")
	f("coding in quotes", "Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n", "")
	f("coding after a vertical tab", "Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n", "")
	f("space before the colon of Transfer-Encoding", "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n", "")
	f("Transfer_Encoding", "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", "hello", "")
	all = append(all, exchange{group: "length", name: "chunked in HTTP/1.0",
		send: "POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		exchange{group: "length", name: "GET with a body", send: "GET / HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\nhello" + next})
	return all
}

func chunkedBodies() (all []exchange) {
	f := func(name, body, note string) {
		all = append(all, exchange{group: "chunked", name: name,
			send: "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n" + body, note: note})
	}
	f("plain", "5\r\nhello\r\n0\r\n\r\n", "")
	f("upper case, leading zeros", "00000A\r\n0123456789\r\n0\r\n\r\n", untouched)
	f("extension", "5;a=b\r\nhello\r\n0\r\n\r\n", untouched)
	f("extension in quotes", "5;a=\"b;\\\"c\"\r\nhello\r\n0\r\n\r\n", untouched)
	f("trailer", "5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n", untouched)
	f("trailer that frames", "5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n", untouched)
	f("second request behind", "0\r\n\r\n"+next, "")
	f("space after the size", "5 \r\nhello\r\n0\r\n\r\n", strict)
	f("space before the size", " 5\r\nhello\r\n0\r\n\r\n", "")
	f("0x", "0x5\r\nhello\r\n0\r\n\r\n", "")
	f("sign", "+5\r\nhello\r\n0\r\n\r\n", "")
	f("no size", "\r\nhello\r\n0\r\n\r\n", "")
	f("not hexadecimal", "g\r\nhello\r\n0\r\n\r\n", "")
	f("overflow", "10000000000000005\r\nhello\r\n0\r\n\r\n", "")
	f("bare LF after the size", "5\nhello\r\n0\r\n\r\n", strict)
	f("bare LF after the data", "5\r\nhello\n0\r\n\r\n", strict)
	f("bare LF in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n", "")
	f("bare CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n", "")
	f("no CRLF after the data", "5\r\nhello0\r\n\r\n", "")
	f("data too long", "5\r\nhelloX\r\n0\r\n\r\n", "")
	f("bare LF at the end", "0\r\n\n", strict)
	f("folded trailer", "0\r\nX: 1\r\n fold\r\n\r\n", strict)
	f("space before a trailer's colon", "0\r\nX : 1\r\n\r\n", strict)
	f("unfinished", "5\r\nhel", untouched)
	return all
}

func connections() []exchange {
	return []exchange{
		{group: "connection", name: "two requests at once", send: get + next},
		{group: "connection", name: "nothing behind Connection: close", send: "GET / HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n" + next},
		{group: "connection", name: "close and keep-alive", send: "GET / HTTP/1.0\r\n" + host + "Connection: keep-alive, close\r\n\r\n", then: []string{next}},
		{group: "connection", name: "HTTP/1.0", send: "GET / HTTP/1.0\r\n" + host + "\r\n"},
		{group: "connection", name: "HTTP/1.0 keep-alive", send: "GET / HTTP/1.0\r\n" + host + "Connection: keep-alive\r\n\r\n", then: []string{next}},
		{group: "connection", name: "HTTP/1.0, chunked answer", send: "GET / HTTP/1.0\r\n" + host + "\r\n",
			answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"},
		{group: "connection", name: "HTTP/1.0, HEAD, chunked answer", send: "HEAD / HTTP/1.0\r\n" + host + "\r\n",
			answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{group: "connection", name: "Expect, continued", send: "POST / HTTP/1.1\r\n" + host + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", then: []string{"hello"}},
		{group: "connection", name: "Expect, refused, but sent", send: "POST / HTTP/1.1\r\n" + host + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
			answer: "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n", then: []string{"hello" + next}, early: true,
			note: "SPEC §7: an upload that the backend refused is not sent to it"},
		{group: "connection", name: "answer before an upload of 8 MiB, that is sent whole before the answer is read",
			send:   fmt.Sprintf("POST / HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s", host, 8<<20, strings.Repeat("x", 8<<20)),
			answer: "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", closes: true, early: true,
			note: "an answer that came early reaches also a client that reads late"},
		{group: "connection", name: "upgrade that the backend takes",
			send:   "GET /other HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: x\r\n\r\n",
			answer: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello"},
		{group: "connection", name: "upgrade that the backend declines", send: "GET /other HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: x\r\n\r\n", then: []string{next}},
	}
}

func answersOfBackends() (all []exchange) {
	f := func(name, answer, note string) {
		all = append(all, exchange{group: "answer", name: name, send: get, then: []string{next}, answer: answer, note: note})
	}
	closing := func(name, answer, note string) {
		f(name, answer, note)
		all[len(all)-1].closes = true
	}
	f("length", ok, "")
	f("chunked with trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\nok\r\n0\r\nX: 1\r\n\r\n", "")
	closing("until the end", "HTTP/1.1 200 OK\r\n\r\nok", "")
	closing("HTTP/1.0 until the end", "HTTP/1.0 200 OK\r\n\r\nok", "")
	f("no reason phrase", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", "")
	f("204", "HTTP/1.1 204 No Content\r\n\r\n", "")
	f("204 with a body", "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil", "")
	f("204 chunked", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n", "")
	f("205 with a body", "HTTP/1.1 205 Reset\r\nContent-Length: 2\r\n\r\nok", "")
	f("304 with a length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n", "")
	f("304 with a body", "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil", "")
	f("103, then 200", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"+ok, "")
	f("100 that nobody asked for", "HTTP/1.1 100 Continue\r\n\r\n"+ok, "")
	f("101 that nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "")
	f("second answer behind", ok+"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "")
	f("garbage behind", ok+"garbage", "")
	f("length twice, equal", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", faulty)
	f("length twice, differing", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!", "")
	f("length and coding", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", faulty)
	f("length malformed", "HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\nok", "")
	f("coding unknown", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "")
	closing("identity", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok", "")
	f("chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", faulty)
	f("bare LF", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", faulty)
	f("folded", "HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\nContent-Length: 2\r\n\r\nok", "")
	f("space before colon", "HTTP/1.1 200 OK\r\nX : 1\r\nContent-Length: 2\r\n\r\nok", "")
	f("name that is no token", "HTTP/1.1 200 OK\r\nX(: 1\r\nContent-Length: 2\r\n\r\nok", "")
	f("NUL", "HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\nok", "")
	f("bare CR in a value", "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok", "")
	f("status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok", faulty)
	f("status 999", "HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\nok", "")
	f("status 000", "HTTP/1.1 000 Odd\r\nContent-Length: 2\r\n\r\nok", faulty)
	f("HTTP/2.0", "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok", faulty)
	f("no HTTP", "SSH-2.0-OpenSSH_9.6\r\n\r\n", "")
	closing("nothing", "", "")
	closing("half a head", "HTTP/1.1 200 OK\r\nContent-", "")
	closing("body too short", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", "")
	closing("chunks that break off", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "")
	f("bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nx\r\n", "")
	f("space after a chunk's size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\nok\r\n0\r\n\r\n", faulty)
	f("bare LF after a chunk's size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\n", faulty)
	f("chunk extension", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\n\r\n", "")
	f("70 KiB of head", "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("a", 70000)+"\r\nContent-Length: 2\r\n\r\nok", "")
	f("30 KiB of head", "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("a", 30000)+"\r\nContent-Length: 2\r\n\r\nok", larger)
	f("hop-by-hop headers", "HTTP/1.1 200 OK\r\nConnection: close, X\r\nX: 1\r\nKeep-Alive: 5\r\nContent-Length: 2\r\n\r\nok", "")
	all = append(all, exchange{group: "answer", name: "HEAD with a body", send: "HEAD / HTTP/1.1\r\n" + host + "\r\n", then: []string{next},
		answer: "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"})
	return all
}
