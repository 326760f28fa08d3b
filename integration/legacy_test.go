package integration

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// startLegacy runs node/legacy.mjs and returns its host:port.
func startLegacy(t *testing.T, env ...string) string {
	t.Helper()
	cmd := nodeScript(t, "legacy.mjs")
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	port, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the legacy app did not start: %v", err)
	}
	return "127.0.0.1:" + strings.TrimSpace(port)
}

// visitor asks the app, directly or through pushcart, and keeps what it got.
type visitor struct {
	t       *testing.T
	address string
	cookies []string
	answers []string // as they came, less what is for one hop, and Date

	conn net.Conn
	in   *bufio.Reader
	raw  bytes.Buffer // all that came since the last request
}

func (v *visitor) connect() {
	v.t.Helper()
	conn, err := net.Dial("tcp", v.address)
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { _ = conn.Close() })
	v.conn = conn
	v.in = bufio.NewReader(io.TeeReader(conn, &v.raw))
}

// request makes a request of its first line, header lines and body.
func request(line, body string, headers ...string) string {
	if !strings.Contains(line, " HTTP/") {
		line += " HTTP/1.1"
	}
	headers = append([]string{line, "Host: legacy.example:8080"}, headers...)
	if body != "" {
		headers = append(headers, fmt.Sprintf("Content-Length: %d", len(body)))
	}
	return strings.Join(headers, "\r\n") + "\r\n\r\n" + body
}

const urlencoded = "Content-Type: application/x-www-form-urlencoded"

// ask sends a request on the kept-alive connection, and wants a status.
func (v *visitor) ask(want int, request string) string {
	v.t.Helper()
	v.send(request)
	return v.receive(want, request)
}

func (v *visitor) send(text string) {
	v.t.Helper()
	if v.conn == nil {
		v.connect()
	}
	v.raw.Reset()
	_ = v.conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(v.conn, text); err != nil {
		v.t.Fatalf("%.40q: %v", text, err)
	}
}

// receive reads interim answers and the final one, whose body it returns.
func (v *visitor) receive(want int, request string) string {
	v.t.Helper()
	method, _, _ := strings.Cut(request, " ")
	for {
		resp, err := http.ReadResponse(v.in, &http.Request{Method: method})
		if err != nil {
			v.t.Fatalf("%.60q: %v after %q", request, err, v.raw.String())
		}
		if resp.StatusCode < 200 && resp.StatusCode != want {
			continue
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			v.t.Fatalf("%.60q: %v", request, err)
		}
		if resp.StatusCode != want {
			v.t.Fatalf("%.60q: got %d %.200q, want %d", request, resp.StatusCode, body, want)
		}
		v.answers = append(v.answers, comparable(v.raw.String()))
		for _, c := range resp.Cookies() {
			v.cookies = append(v.cookies, c.Name+"="+c.Value)
		}
		if resp.Close {
			_ = v.conn.Close()
			v.conn = nil
		}
		return string(body)
	}
}

// comparable is an answer less Date and what is for one hop only. All else stays
// as it came: status line, order and case of headers, framing, trailers.
func comparable(answer string) string {
	var b strings.Builder
	for {
		head, rest, ok := strings.Cut(answer, "\r\n\r\n")
		if !ok {
			break
		}
		for line := range strings.SplitSeq(head, "\r\n") {
			name, _, _ := strings.Cut(line, ":")
			switch strings.ToLower(name) {
			case "date", "connection", "keep-alive":
			default:
				b.WriteString(line + "\r\n")
			}
		}
		b.WriteString("\r\n")
		answer = rest
		if !strings.HasPrefix(answer, "HTTP/1.1 ") { // behind an interim answer
			break
		}
	}
	return b.String() + answer
}

// multipartBody is a form with a field and two files, as browsers write it.
func multipartBody() (contentType, body string) {
	const boundary = "----WebKitFormBoundaryx7MA4YWxkTrZu0gW"
	part := func(disposition, contentType, data string) string {
		return "--" + boundary + "\r\nContent-Disposition: form-data; " + disposition + contentType + "\r\n\r\n" + data + "\r\n"
	}
	return "Content-Type: multipart/form-data; boundary=" + boundary,
		part(`name="title"`, "", "Ünïcode\r\ntitle") +
			part(`name="doc"; filename="a b.txt"`, "\r\nContent-Type: text/plain", "hello\n") +
			part(`name="doc"; filename="big.bin"`, "\r\nContent-Type: application/octet-stream", strings.Repeat("\x00\r\n--\xff", 500_000)) +
			"--" + boundary + "--\r\n"
}

// header is the value of a header of the last answer.
func (v *visitor) header(name string) string {
	head, _, _ := strings.Cut(v.answers[len(v.answers)-1], "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		if n, value, _ := strings.Cut(line, ": "); n == name {
			return value
		}
	}
	v.t.Fatalf("no %s in %s", name, head)
	return ""
}

// visits are what is done with the app, once directly and once through pushcart.
var visits = []struct {
	name string
	do   func(v *visitor)
}{
	{"login with a session cookie, and out again", func(v *visitor) {
		v.ask(303, request("GET /account", ""))
		v.ask(200, request("GET /login?next=%2Faccount", ""))
		v.ask(401, request("POST /login", "user=ann&password=wrong", urlencoded))
		v.ask(302, request("POST /login?next=%2Faccount%3Fx%3D1", "user=ann&password=hunter2+%26+m%C3%A1s", urlencoded))
		if len(v.cookies) != 3 {
			v.t.Fatalf("cookies %q, want 3", v.cookies)
		}
		cookies := "Cookie: " + strings.Join(v.cookies, "; ")
		if got := v.ask(200, request("GET /account", "", cookies)); !strings.Contains(got, "hello ann") {
			v.t.Fatalf("account: %s", got)
		}
		v.ask(303, request("GET /account", "", "Cookie: session=ann.forged"))
		v.ask(301, request("POST /logout?a=b%20c", "", cookies, "Content-Length: 0"))
		if got := v.header("Location"); got != "http://legacy.example:8080/bye?from=%2Flogout%3Fa%3Db%2520c" {
			v.t.Errorf("absolute redirect to %s", got)
		}
	}},
	{"multipart upload", func(v *visitor) {
		contentType, body := multipartBody()
		if got := v.ask(201, request("POST /upload", body, contentType)); !strings.Contains(got, `"size":3000000`) {
			v.t.Errorf("upload: %s", got)
		}
		v.ask(500, request("POST /upload", body[:1000], contentType))
	}},
	{"multipart upload in chunks", func(v *visitor) {
		contentType, body := multipartBody()
		var b strings.Builder
		for len(body) > 0 {
			n := min(len(body), 70_000)
			fmt.Fprintf(&b, "%x;a=b\r\n%s\r\n", n, body[:n])
			body = body[n:]
		}
		v.ask(201, request("POST /upload", "", contentType, "Transfer-Encoding: chunked")+b.String()+"0\r\n\r\n")
	}},
	{"download whole and in ranges", func(v *visitor) {
		if got := v.ask(200, request("GET /files/caf%C3%A9", "")); len(got) != 3<<20 {
			v.t.Errorf("%d bytes", len(got))
		}
		tag, date := v.header("ETag"), v.header("Last-Modified")
		v.ask(206, request("GET /files/a", "", "Range: bytes=100-199"))
		v.ask(206, request("GET /files/a", "", "Range: bytes=-500"))
		v.ask(206, request("GET /files/a", "", "Range: bytes=3000000-"))
		v.ask(416, request("GET /files/a", "", "Range: bytes=9999999-"))
		v.ask(200, request("GET /files/a", "", "Range: bytes=0-9, 20-29"))
		v.ask(206, request("GET /files/a", "", "Range: bytes=0-9", "If-Range: "+tag))
		v.ask(200, request("GET /files/a", "", "Range: bytes=0-9", `If-Range: "other"`))
		v.ask(206, request("GET /files/a", "", "Range: bytes=0-9", "If-Range: "+date))
		v.ask(304, request("GET /files/a", "", "If-None-Match: "+tag))
		v.ask(304, request("GET /files/a", "", "If-Modified-Since: "+date))
		v.ask(412, request("GET /files/a", "", `If-Match: "other"`))
		v.ask(200, request("HEAD /files/a", ""))
	}},
	{"gzip, ETag and HEAD", func(v *visitor) {
		v.ask(200, request("GET /report", ""))
		tag := v.header("ETag")
		v.ask(200, request("GET /report", "", "Accept-Encoding: gzip, deflate"))
		if v.header("Content-Encoding") != "gzip" {
			v.t.Error("not compressed")
		}
		v.ask(200, request("GET /report", "", "Accept-Encoding: deflate"))
		v.ask(304, request("GET /report", "", "If-None-Match: "+tag))
		v.ask(200, request("HEAD /report", ""))
		v.ask(200, request("HEAD /report", "", "Accept-Encoding: gzip"))
		v.ask(200, request("GET /", ""))
	}},
	{"pages for what is not there and what breaks", func(v *visitor) {
		v.ask(404, request("GET /missing", ""))
		v.ask(404, request("DELETE /", ""))
		v.ask(500, request("GET /boom", ""))
		v.ask(204, request("GET /nothing", ""))
		v.ask(205, request("GET /reset", ""))
		v.ask(200, request("OPTIONS /login", ""))
		v.ask(299, request("GET /odd", ""))
		v.ask(400, request("POST /json", "{bad", "Content-Type: application/json"))
	}},
	{"large JSON both ways", func(v *visitor) {
		list := v.ask(200, request("GET /json", ""))
		if got := v.ask(200, request("POST /json", list, "Content-Type: application/json")); !strings.Contains(got, `"length":40000`) {
			v.t.Errorf("got %s", got)
		}
		v.ask(200, request("GET /json", "", "Accept-Encoding: gzip"))
	}},
	{"server-sent events, plain and compressed", func(v *visitor) {
		if got := v.ask(200, request("GET /events", "", "Accept: text/event-stream")); strings.Count(got, "data:") != 3 {
			v.t.Errorf("events %q", got)
		}
		v.ask(200, request("GET /events", "", "Accept-Encoding: gzip"))
	}},
	{"a stream with trailers", func(v *visitor) {
		body := v.ask(200, request("GET /stream", "", "TE: trailers"))
		sum := sha256.Sum256([]byte(body))
		if !strings.Contains(v.answers[0], "\r\n0\r\nX-Sum: "+hex.EncodeToString(sum[:])+"\r\nX-Lines: 5\r\n\r\n") {
			v.t.Error("no trailers")
		}
	}},
	{"a long poll", func(v *visitor) {
		v.send(request("GET /poll", ""))
		other := &visitor{t: v.t, address: v.address}
		testkit.Eventually(v.t, "somebody waits", func() bool {
			return other.ask(200, request("POST /poll", "news", "Content-Type: text/plain")) == `{"n":1}`
		})
		if got := v.receive(200, request("GET /poll", "")); got != "news" {
			v.t.Errorf("got %q", got)
		}
	}},
	{"Expect: 100-continue, taken and refused", func(v *visitor) {
		_, body := multipartBody()
		whole := request("PUT /echo", body, "Expect: 100-continue")
		head := whole[:len(whole)-len(body)]
		v.send(head)
		if line, err := v.in.Peek(12); err != nil || string(line) != "HTTP/1.1 100" {
			v.t.Fatalf("got %q, %v", line, err)
		}
		got := v.raw.String()
		v.answers = append(v.answers, comparable(got))
		v.seesAs(v.askRest(body))
		v.ask(413, request("PUT /echo", "", "Expect: 100-continue", "X-Refuse: 1", "Content-Length: 5"))
	}},
	{"early hints", func(v *visitor) {
		v.ask(200, request("GET /hints", ""))
		if !strings.HasPrefix(v.answers[0], "HTTP/1.1 103 ") {
			v.t.Errorf("got %q", v.answers[0])
		}
	}},
	{"HTTP/1.0", func(v *visitor) {
		v.ask(200, request("GET / HTTP/1.0", ""))
		v.ask(200, request("GET / HTTP/1.0", "", "Connection: keep-alive"))
		v.ask(404, request("GET /missing HTTP/1.0", ""))
	}},
	{"what the app sees of a request", func(v *visitor) {
		f := func(request string) { v.seesAs(v.unrecorded(200, request)) }
		f(request("GET /echo/a//b/../c;d=e?x=1&x=2&&y", ""))
		f(request("GET /echo/%2F%2e%2E/caf%C3%A9?q=%F0%9F%98%80+%26", ""))
		v.ask(400, request("GET /echo/caf\xc3\xa9?q=\xc3\xbc", "")) // Node takes no bytes beyond ASCII
		f(request("GET /echo?", ""))
		f(request("GET /echo?a=%zz&b=\"<>|{}^`", ""))
		f(request("POST /echo", "a=b", urlencoded, "X-One: 1", "x-one: 2", "X-EMPTY:", "X-Bytes: \xe9", "Cookie: a=b", "Cookie: c=d"))
		f(request("PATCH /echo", "", "Transfer-Encoding: chunked", "Trailer: X-T") + "3\r\nabc\r\n0\r\nX-T: 1\r\nx-t: 2\r\n\r\n")
		f(request("DELETE /echo", "body of a DELETE", "Forwarded: for=1.2.3.4", "Authorization: Basic x"))
		f(request("M-SEARCH /echo", ""))
		f(request("GET /echo", "", "X-Long: "+strings.Repeat("l", 12_000)))
		v.ask(200, request("GET /whoami", ""))
	}},
	{"a WebSocket of its own", func(v *visitor) {
		c, resp, err := dialer.Dial("ws://"+v.address+"/socket?room=1", nil)
		if err != nil {
			v.t.Fatal(err)
		}
		defer c.Close()
		v.answers = append(v.answers, resp.Status, resp.Header.Get("X-Room"))
		for _, m := range []struct {
			kind int
			text string
		}{{websocket.TextMessage, "grüße"}, {websocket.BinaryMessage, "\x00\xff"}, {websocket.TextMessage, strings.Repeat("long ", 8000)}} {
			send(v.t, c, m.kind, m.text)
			if kind, got := next(v.t, c); kind != m.kind || got != m.text {
				v.t.Errorf("%.20q: got kind %d, %.20q", m.text, kind, got)
			}
		}
		_ = c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(4321, "bye"))
		if code := closed(v.t, c); code != 4321 {
			v.t.Errorf("closed with %d", code)
		}
		v.ask(403, request("GET /socket", "", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: x"))
	}},
}

// unrecorded is ask for an answer that is compared in another way.
func (v *visitor) unrecorded(want int, request string) string {
	v.t.Helper()
	body := v.ask(want, request)
	v.answers = v.answers[:len(v.answers)-1]
	return body
}

// receiveContinue keeps the interim answer that came.
func (v *visitor) askRest(body string) string {
	v.t.Helper()
	v.send(body)
	got := v.receive(200, "PUT")
	v.answers = v.answers[:len(v.answers)-1]
	return got
}

// seesAs keeps what the app saw, less what tells it of the proxy.
func (v *visitor) seesAs(lines string) {
	var kept []string
	for line := range strings.SplitSeq(lines, "\n") {
		switch name, _, _ := strings.Cut(line, ":"); name {
		case "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Via", "Connection":
		default:
			kept = append(kept, line)
		}
	}
	v.answers = append(v.answers, strings.Join(kept, "\n"))
}

// TestLegacyApp_IsTheSameThroughPushcart: an app of another language, with what
// such apps have, gives the same bytes directly and through the sidecar.
func TestLegacyApp_IsTheSameThroughPushcart(t *testing.T) {
	sidecartest.OnceWithRace(t)
	t.Parallel() // it mostly waits
	app := startLegacy(t)
	s := sidecartest.Start(t, anonymous+"\nbackend: {url: 'http://"+app+"'}")
	for _, visit := range visits {
		t.Run(visit.name, func(t *testing.T) {
			direct, through := &visitor{t: t, address: app}, &visitor{t: t, address: s.Public}
			visit.do(direct)
			visit.do(through)
			if len(direct.answers) != len(through.answers) || len(direct.answers) == 0 {
				t.Fatalf("%d answers directly, %d through pushcart", len(direct.answers), len(through.answers))
			}
			for i, want := range direct.answers {
				if got := through.answers[i]; got != want {
					at := firstDifference(got, want)
					t.Errorf("answer %d differs at byte %d: directly %.300q, through pushcart %.300q", i, at, want[max(0, at-80):], got[max(0, at-80):])
				}
			}
		})
	}
	status, _, seen := exchange(t, s.Public, "GET /echo HTTP/1.1\r\nHost: legacy.example:8080\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
	want := "X-Forwarded-For: 127.0.0.1\nX-Forwarded-Proto: http\nX-Forwarded-Host: legacy.example:8080"
	if status != 200 || !strings.HasSuffix(seen, want) || strings.Contains(seen, "6.6.6.6") {
		t.Errorf("the app saw %d %s", status, seen)
	}
	for _, c := range s.Complaints() {
		if !strings.Contains(c, "X-Forwarded-* of a front are replaced") { // that one is right
			t.Errorf("pushcart complains: %s", c)
		}
	}
}

func firstDifference(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// TestLegacyApp_ThatClosesIdleConnectionsSoonLosesNoRequest: Node closes a
// kept-alive connection after a while, here in the very moments when it is used.
func TestLegacyApp_ThatClosesIdleConnectionsSoonLosesNoRequest(t *testing.T) {
	const keepAlive = 50
	app := startLegacy(t, fmt.Sprintf("KEEP_ALIVE=%d", keepAlive))
	s := sidecartest.Start(t, anonymous+"\nbackend: {url: 'http://"+app+"'}")
	var mu sync.Mutex // guards failed
	failed := map[string]int{}
	var wg sync.WaitGroup
	for id := range 40 {
		wg.Go(func() {
			for round := range 3 {
				// Around the moment when the app closes, from both sides.
				<-time.After(time.Duration(keepAlive-10+id/2+round) * time.Millisecond)
				for _, r := range []struct{ method, path string }{{"GET", "/"}, {"POST", fmt.Sprintf("/orders/%d-%d", id, round)}} {
					status, body, err := try(r.method, "http://"+s.Public+r.path)
					if err != nil || status != 200 {
						mu.Lock()
						failed[r.method]++
						mu.Unlock()
						t.Logf("%s: %d %s %v", r.method, status, body, err)
					}
				}
			}
		})
	}
	wg.Wait()
	if failed["GET"] > 0 || failed["POST"] > 6 {
		t.Errorf("of 120 each, failed: %v; want no GET, and 1 of 20 POSTs at most", failed)
	}
	_, body := call(t, "GET", "http://"+app+"/orders", "", "")
	var orders map[string]int
	if err := json.Unmarshal([]byte(body), &orders); err != nil {
		t.Fatal(err)
	}
	for id, n := range orders {
		if n != 1 {
			t.Errorf("order %s was delivered %d times", id, n)
		}
	}
	if len(orders) < 120-failed["POST"] {
		t.Errorf("%d orders arrived, %d POSTs failed", len(orders), failed["POST"])
	}
}

// try is call for goroutines that are not the test's.
func try(method, url string) (int, string, error) {
	req, err := http.NewRequest(method, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}
