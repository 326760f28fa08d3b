package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// tlsFleet is clients over TLS, a goroutine each: crypto/tls knows no other way.
type tlsFleet struct {
	pings atomic.Int64
	conns []net.Conn
	done  sync.WaitGroup
}

func (f *tlsFleet) pinged() int64 { return f.pings.Load() }

func (f *tlsFleet) dial(addr string, n int, header func(id int) string) error {
	first := len(f.conns)
	f.conns = append(f.conns, make([]net.Conn, n)...)
	errs := make(chan error, 64)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
				if err != nil {
					errs <- fmt.Errorf("connection %d: %w", i, err)
					return
				}
				f.conns[first+i] = conn
				r, err := upgrade(conn, header(first+i))
				if err != nil {
					errs <- fmt.Errorf("connection %d: %w", i, err)
					return
				}
				f.done.Go(func() { f.read(conn, r) })
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// read answers pings; nothing else comes.
func (f *tlsFleet) read(conn net.Conn, r *bufio.Reader) {
	var head [2]byte
	for {
		for i := range head {
			b, err := r.ReadByte()
			if err != nil {
				return
			}
			head[i] = b
		}
		if head[0]&15 == 9 {
			f.pings.Add(1)
			_, _ = conn.Write([]byte{0x8a, 0x80, 0, 0, 0, 0})
		}
		if _, err := r.Discard(int(head[1] & 127)); err != nil {
			return
		}
	}
}

func (f *tlsFleet) close() {
	for _, conn := range f.conns {
		if conn != nil {
			_ = conn.Close()
		}
	}
	f.done.Wait()
}
