package integration

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/sidecartest"
	"github.com/pushcart/pushcart/internal/testkit"
)

// TestPassThrough_NoOtherAPIIsOnThePublicListener: what of the push and admin APIs
// is asked for there is the backend's to answer, in whatever spelling.
func TestPassThrough_NoOtherAPIIsOnThePublicListener(t *testing.T) {
	b := newBackend(t, nil)
	s := sidecartest.Start(t, anonymous+"\nbackend: {url: '"+b.URL+"'}")
	c := dial(t, s, nil)
	body := `{"to":{"all":true},"text":"forged"}`
	for _, host := range []string{"app.example", s.Push, s.Admin, "localhost", "127.0.0.1"} {
		for _, path := range []string{
			"/v1/push", "/v1/batch", "/v1/connections", "/v1/users/ann", "/v1/channels", "/v1/nodes",
			"/healthz", "/readyz", "/metrics", "/", "/debug/pprof/", "/debug/pprof/heap", "//v1/push", "/x/../v1/push", "/%761/push", "/_push/v1/push",
		} {
			for _, target := range []string{path, "http://" + host + path} {
				status, _, got := exchange(t, s.Public, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
					target, host, len(body), body))
				if status != 200 || !strings.HasPrefix(got, "POST /") {
					t.Errorf("%s of %s: %d %.80q, which is not the backend's answer", target, host, status, got)
				}
			}
		}
	}
	if status, _, _ := exchange(t, s.Public, "CONNECT "+s.Push+" HTTP/1.1\r\nHost: "+s.Push+"\r\n\r\n"); status != 405 {
		t.Errorf("CONNECT to the push API: %d", status)
	}
	if got := s.Pushed(t, `{"to":{"all":true},"text":"real"}`); got.Nodes != 1 {
		t.Fatalf("pushed: %+v", got)
	}
	if _, got := next(t, c); got != "real" {
		t.Errorf("the first push that arrived is %q", got)
	}
}

const gib = 1 << 30

// TestPassThrough_AGiBEachWayTakesNoMemory: the reader stops five times on the way
// until the writer is held back too.
func TestPassThrough_AGiBEachWayTakesNoMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("moves 2 GiB")
	}
	ln := testkit.Listen(t)
	defer ln.Close()
	s := sidecartest.Start(t, anonymous+"\nbackend: {url: 'http://"+ln.Addr().String()+"'}")
	before := memory(t, s, "VmRSS")
	head := func(in *bufio.Reader) {
		t.Helper()
		for {
			if line, err := in.ReadString('\n'); err != nil || line == "\r\n" {
				return
			}
		}
	}
	client, err := net.Dial("tcp", s.Public)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	fmt.Fprintf(client, "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", gib)
	backend, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	fromClient, fromBackend := bufio.NewReaderSize(backend, 256<<10), bufio.NewReaderSize(client, 256<<10)
	head(fromClient)
	moveGiB(t, client, fromClient)
	fmt.Fprintf(backend, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", gib)
	head(fromBackend)
	moveGiB(t, backend, fromBackend)
	grown := (memory(t, s, "VmHWM") - before) >> 20
	t.Logf("the most memory it ever had is %d MiB more than before", grown)
	if grown > 32 {
		t.Errorf("it took %d MiB", grown)
	}
}

// moveGiB writes to one side and reads from the other, with stops.
func moveGiB(t *testing.T, to io.Writer, from io.Reader) {
	t.Helper()
	var sent atomic.Int64
	go func() {
		block := make([]byte, 256<<10)
		for range gib / len(block) {
			n, err := to.Write(block)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	const stops = 5
	for i := range int64(stops) {
		for last := int64(-1); sent.Load() != last; {
			last = sent.Load()
			<-time.After(100 * time.Millisecond)
		}
		// The kernel's buffers of both connections, four of them, which it grows for a
		// peer that was fast.
		if ahead := sent.Load() - i*gib/stops; ahead > 128<<20 {
			t.Errorf("the writer was let %d MiB ahead", ahead>>20)
		}
		if _, err := io.CopyN(io.Discard, from, (i+1)*gib/stops-i*gib/stops); err != nil {
			t.Fatal(err)
		}
	}
}

// memory is a figure of /proc in bytes: VmRSS, or VmHWM, the most that VmRSS was.
func memory(t *testing.T, s *sidecartest.Sidecar, name string) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Pid()))
	if err != nil {
		testkit.Missing(t, "/proc")
	}
	_, rest, _ := strings.Cut(string(b), name+":")
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
