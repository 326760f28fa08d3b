package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
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

// selfSigned writes a certificate for 127.0.0.1 and its key.
func selfSigned(dir string) (certFile, keyFile string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return "", "", err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", err
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	return certFile, keyFile, errors.Join(
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}
