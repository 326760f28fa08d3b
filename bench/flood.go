package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/flate"
)

// floodKind is something that clients flood with.
type floodKind struct {
	name       string
	begin      []byte // is sent once
	each       []byte // is sent for ever
	compressed bool
}

var floodKinds = []floodKind{
	{name: "nothing"},
	{name: "pings", each: fromClient(0x89, []byte("?"))},
	{name: "pongs", each: fromClient(0x8a, nil)},
	{name: "empty continuations", begin: fromClient(0x01, []byte("a")), each: fromClient(0x00, nil)},
	{name: "tiny messages", each: fromClient(0x81, []byte("x"))},
	{name: "compressed messages", each: fromClient(0xc1, deflated(bytes.Repeat([]byte("x"), 30_000))), compressed: true},
}

// fromClient is a frame of up to 64 KiB, masked.
func fromClient(first byte, payload []byte) []byte {
	b := []byte{first, 0x80 | byte(len(payload))}
	if len(payload) > 125 {
		b = []byte{first, 0x80 | 126, byte(len(payload) >> 8), byte(len(payload))}
	}
	key := []byte{1, 2, 3, 4}
	b = append(b, key...)
	for i, c := range payload {
		b = append(b, c^key[i%4])
	}
	return b
}

func deflated(p []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.DefaultCompression) // the level is one
	_, _ = w.Write(p)                                     // a bytes.Buffer does not fail
	_ = w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff"))
}

const flooders = 20

// flood shows what 20 clients that flood do to the round trips of four that behave,
// beside an echo server on coder/websocket in the same minutes. Round trips are
// pings, and, where the kind of flood needs no other configuration, echoes: the
// sidecar's go through a webhook and the app, which is in this process.
func flood(o options) error {
	peer, err := startCoder()
	if err != nil {
		return err
	}
	defer peer.stop()
	for _, k := range floodKinds {
		if err := floodWith(o, k, peer.addr); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
	}
	return nil
}

func floodWith(o options, k floodKind, peer string) error {
	var ours, theirs, ratios, echoes, theirEchoes []float64
	for range o.rounds {
		pong, echo, err := floodSidecar(o, k)
		if err != nil {
			return err
		}
		theirPong, err := probeFlooded(peer, k, "ping")
		if err != nil {
			return err
		}
		theirEcho, err := probeFlooded(peer, k, "echo")
		if err != nil {
			return err
		}
		ours, theirs, ratios = append(ours, pong), append(theirs, theirPong), append(ratios, pong/theirPong)
		echoes, theirEchoes = append(echoes, echo), append(theirEchoes, theirEcho)
	}
	fmt.Printf("flood, %d clients send %s: others' pings have a p50 of %.2f ms, at coder/websocket %.2f ms: %.2f times (%.2f); echoes through the app %.2f ms, there %.2f ms without one\n",
		flooders, k.name, median(ours), median(theirs), median(ratios), ratios, median(echoes), median(theirEchoes))
	return nil
}

// floodSidecar takes the pings' figure where messages go to nobody, and the echoes'
// where they go to the app.
func floodSidecar(o options, k floodKind) (pong, echo float64, err error) {
	b, err := newBackend()
	if err != nil {
		return 0, 0, err
	}
	defer b.close()
	for _, run := range []struct {
		event, what string
		to          *float64
	}{{"disconnected", "ping", &pong}, {"message", "echo", &echo}} {
		s, err := start(o, "auth: {anonymous: true}", "websocket: {compression: true}", b.config(run.event))
		if err != nil {
			return 0, 0, err
		}
		*run.to, err = probeFlooded(s.public, k, run.what)
		s.stop()
		if err != nil {
			return 0, 0, err
		}
	}
	return pong, echo, nil
}

// probeFlooded is the p50 of a probe, in milliseconds, while others flood.
func probeFlooded(addr string, k floodKind, what string) (float64, error) {
	var f floodFleet
	defer f.close()
	if err := f.dial(addr, k); err != nil {
		return 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	out, err := exec.Command(self, "floodprobe", addr, what).Output()
	if err != nil {
		return 0, fmt.Errorf("probe: %w", err)
	}
	if n := f.ended(); n > 0 {
		return 0, fmt.Errorf("%d of the flooders were cut off", n)
	}
	return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
}

// floodFleet is clients that write without a pause and read what comes.
type floodFleet struct {
	conns []net.Conn
	work  sync.WaitGroup
	mu    sync.Mutex // guards gone
	gone  int
}

func (f *floodFleet) dial(addr string, k floodKind) error {
	if k.each == nil {
		return nil
	}
	chunk := bytes.Repeat(k.each, max(1, 64<<10/len(k.each)))
	header := ""
	if k.compressed {
		header = extensions + ": permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n"
	}
	for range flooders {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		f.conns = append(f.conns, conn)
		r, err := upgrade(conn, header)
		if err != nil {
			return err
		}
		f.work.Go(func() { _, _ = io.Copy(io.Discard, r) })
		f.work.Go(func() {
			_, err := conn.Write(k.begin)
			for err == nil {
				_, err = conn.Write(chunk)
			}
			if !errors.Is(err, net.ErrClosed) {
				f.mu.Lock()
				f.gone++
				f.mu.Unlock()
			}
		})
	}
	return nil
}

func (f *floodFleet) ended() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gone
}

func (f *floodFleet) close() {
	for _, c := range f.conns {
		_ = c.Close()
	}
	f.work.Wait()
}

// floodProbe is four clients that behave, in a process of their own: each sends a
// ping, or a message, now and then, and waits for its answer.
func floodProbe(addr, what string) error {
	const clients, lasts, pause = 4, 4 * time.Second, 20 * time.Millisecond
	frame := fromClient(0x89, []byte("probe"))
	if what == "echo" {
		frame = fromClient(0x81, []byte("probe"))
	}
	var mu sync.Mutex
	var ms []float64
	errs := make(chan error, clients)
	for range clients {
		go func() {
			errs <- func() error {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					return err
				}
				defer conn.Close()
				r, err := upgrade(conn, "")
				if err != nil {
					return err
				}
				for begin := time.Now(); time.Since(begin) < lasts; time.Sleep(rand.N(2 * pause)) {
					took, err := roundTrip(conn, r, frame)
					if err != nil {
						return err
					}
					mu.Lock()
					ms = append(ms, float64(took)/1e6)
					mu.Unlock()
				}
				return nil
			}()
		}()
	}
	var err error
	for range clients {
		err = errors.Join(err, <-errs)
	}
	fmt.Println(quantile(ms, .5))
	return err
}

// roundTrip sends a frame and waits for the answer of the same size.
func roundTrip(conn net.Conn, r *bufio.Reader, sent []byte) (time.Duration, error) {
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	began := time.Now()
	if _, err := conn.Write(sent); err != nil {
		return 0, err
	}
	_, err := r.Discard(len(sent) - 4) // a server masks nothing
	return time.Since(began), err
}

// coder is the echo server on coder/websocket.
type coder struct {
	cmd  *exec.Cmd
	dir  string
	addr string
}

func startCoder() (*coder, error) {
	dir, err := os.MkdirTemp("", "pushcart-bench-coder")
	if err != nil {
		return nil, err
	}
	c := &coder{dir: dir, cmd: exec.Command(filepath.Join(dir, "coder"))}
	b := exec.Command("go", "build", "-o", c.cmd.Path, ".")
	b.Dir, b.Stderr = filepath.Join("bench", "coder"), os.Stderr
	if err := b.Run(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("build coder: %w", err)
	}
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		c.stop()
		return nil, err
	}
	c.addr = strings.TrimSpace(line)
	return c, nil
}

func (c *coder) stop() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
	_ = os.RemoveAll(c.dir)
}
