package main

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// requestHeaders are what a browser or a client library sends along.
const requestHeaders = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n" +
	"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate\r\n" +
	"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\nDNT: 1\r\nSec-GPC: 1\r\n"

const lengthName = "ength: "

// sample is one measurement: CPU-µs per request of the target, requests per
// second, and latencies in µs.
type sample struct{ cpu, rate, p50, p99 float64 }

func medianSample(all []sample) sample {
	pick := func(get func(sample) float64) float64 {
		v := make([]float64, len(all))
		for i, s := range all {
			v[i] = get(s)
		}
		return median(v)
	}
	return sample{
		cpu: pick(func(s sample) float64 { return s.cpu }), rate: pick(func(s sample) float64 { return s.rate }),
		p50: pick(func(s sample) float64 { return s.p50 }), p99: pick(func(s sample) float64 { return s.p99 }),
	}
}

// measure keeps o.conns connections busy: with one request after the other, or with
// one each so often.
func measure(t *target, path string, o options, each time.Duration) (sample, error) {
	request := []byte("GET " + path + " HTTP/1.1\r\nHost: bench.example\r\n" + requestHeaders + "\r\n")
	stop := time.Now().Add(o.seconds)
	warm := time.Now().Add(o.seconds / 8)
	var mu sync.Mutex
	var all []time.Duration
	var failed error
	var wg sync.WaitGroup
	for range o.conns {
		wg.Go(func() {
			took, err := hammer(t.address, request, each, warm, stop)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			if failed == nil {
				failed = err
			}
		})
	}
	time.Sleep(time.Until(warm))
	cpu, begin := t.cpu(), time.Now()
	wg.Wait()
	used, span := t.cpu()-cpu, time.Since(begin)
	if failed != nil || len(all) == 0 {
		return sample{}, fmt.Errorf("load: %w", failed)
	}
	slices.Sort(all)
	at := func(q float64) float64 { return float64(all[int(q*float64(len(all)-1))].Nanoseconds()) / 1e3 }
	return sample{
		cpu:  float64(used.Microseconds()) / float64(len(all)),
		rate: float64(len(all)) / span.Seconds(), p50: at(0.5), p99: at(0.99),
	}, nil
}

func hammer(address string, request []byte, each time.Duration, warm, stop time.Time) ([]time.Duration, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	took := make([]time.Duration, 0, 1<<15)
	buf := make([]byte, 32<<10)
	next := time.Now().Add(rand.N(each + 1))
	for {
		begin := time.Now()
		if each > 0 { // by the clock: who is late is not spared what was due meanwhile
			time.Sleep(next.Sub(begin))
			begin, next = next, next.Add(each)
		}
		if begin.After(stop) {
			return took, nil
		}
		if _, err := conn.Write(request); err != nil {
			return nil, err
		}
		if err := readAnswer(conn, buf); err != nil {
			return nil, err
		}
		if begin.After(warm) {
			took = append(took, time.Since(begin))
		}
	}
}

// readAnswer reads one response with a Content-Length that fits into buf.
func readAnswer(conn net.Conn, buf []byte) error {
	n := 0
	for {
		m, err := conn.Read(buf[n:])
		if err != nil {
			return err
		}
		n += m
		end := bytes.Index(buf[:n], []byte("\r\n\r\n"))
		if end < 0 {
			continue
		}
		i := bytes.Index(buf[:end], []byte(lengthName)) // HAProxy sends names in lower case
		if i < 0 || !bytes.HasPrefix(buf, []byte("HTTP/1.1 200")) {
			return fmt.Errorf("unexpected answer %q", buf[:min(n, 120)])
		}
		digits := buf[i+len(lengthName) : end]
		if j := bytes.IndexByte(digits, '\r'); j >= 0 {
			digits = digits[:j]
		}
		length, err := strconv.Atoi(string(digits))
		if err != nil {
			return err
		}
		for n < end+4+length {
			m, err := conn.Read(buf[n:])
			if err != nil {
				return err
			}
			n += m
		}
		return nil
	}
}

// download returns MiB per second of one large response.
func download(t *target, size int) (float64, error) {
	conn, err := net.Dial("tcp", t.address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	begin := time.Now()
	fmt.Fprintf(conn, "GET /bytes/%d HTTP/1.1\r\nHost: bench.example\r\n\r\n", size)
	buf := make([]byte, 256<<10)
	for got := 0; got < size; { // the head counts too: it is next to nothing
		n, err := conn.Read(buf)
		if err != nil {
			return 0, err
		}
		got += n
	}
	return float64(size) / (1 << 20) / time.Since(begin).Seconds(), nil
}

// uploadBody returns MiB per second of one large request.
func uploadBody(t *target, size int) (float64, error) {
	conn, err := net.Dial("tcp", t.address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	begin := time.Now()
	fmt.Fprintf(conn, "POST /sink HTTP/1.1\r\nHost: bench.example\r\nContent-Length: %d\r\n\r\n", size)
	block := make([]byte, 256<<10)
	for left := size; left > 0; {
		n, err := conn.Write(block[:min(left, len(block))])
		if err != nil {
			return 0, err
		}
		left -= n
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && line != "HTTP/1.1 200 OK\r\n" {
		err = fmt.Errorf("unexpected answer %q", line)
	}
	return float64(size) / (1 << 20) / time.Since(begin).Seconds(), err
}

// Idle connections come at a pace, as people do, and are looked at when they were
// idle for a while.
const (
	idlePace   = 500 * time.Microsecond
	idleSettle = 3 * time.Second
)

// idleCost opens n connections, makes one request on each and leaves them open; it
// returns what the last two thirds of them cost.
func idleCost(t *target, n int) (each, total float64, err error) {
	request := []byte("GET /bytes/100 HTTP/1.1\r\nHost: bench.example\r\n" + requestHeaders + "\r\n")
	buf := make([]byte, 32<<10)
	before := int64(0)
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	for i := range n {
		if i == n/3 {
			time.Sleep(idleSettle)
			before = t.rss()
		}
		conn, err := net.Dial("tcp", t.address)
		if err != nil {
			return 0, 0, err
		}
		open = append(open, conn)
		if _, err := conn.Write(request); err != nil {
			return 0, 0, err
		}
		if err := readAnswer(conn, buf); err != nil {
			return 0, 0, err
		}
		time.Sleep(idlePace)
	}
	time.Sleep(idleSettle)
	after := t.rss()
	return float64(after-before) / float64(n-n/3), float64(after) / (1 << 20), nil
}
