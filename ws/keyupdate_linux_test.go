package ws

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/takeover"
	"github.com/pushcart/pushcart/internal/testkit"
)

// recordWriter writes TLS 1.3 records with the client's traffic secret, as
// crypto/tls has no way to ask for key updates (RFC 8446 §4.6.3, §5.2, §7.2).
type recordWriter struct {
	t      *testing.T
	hash   func() hash.Hash
	size   int // of the key
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	number uint64
	out    bytes.Buffer
}

func newRecordWriter(t *testing.T, suite uint16, keyLog string) *recordWriter {
	t.Helper()
	if suite != tls.TLS_AES_128_GCM_SHA256 {
		t.Fatalf("suite %s: the test wants a machine with AES", tls.CipherSuiteName(suite))
	}
	var random, secret string
	for line := range bytes.Lines([]byte(keyLog)) {
		if _, err := fmt.Sscanf(string(line), "CLIENT_TRAFFIC_SECRET_0 %s %s", &random, &secret); err == nil {
			break
		}
	}
	w := &recordWriter{t: t, hash: sha256.New, size: 16}
	var err error
	if w.secret, err = hex.DecodeString(secret); err != nil || secret == "" {
		t.Fatalf("no secret in %q", keyLog)
	}
	w.rekey()
	return w
}

func (w *recordWriter) expand(label string, length int) []byte {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(length))
	info = append(append(append(info, byte(len(label))), label...), 0)
	b, err := hkdf.Expand(w.hash, w.secret, string(info), length)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func (w *recordWriter) rekey() {
	block, err := aes.NewCipher(w.expand("key", w.size))
	if err != nil {
		w.t.Fatal(err)
	}
	if w.aead, err = cipher.NewGCM(block); err != nil {
		w.t.Fatal(err)
	}
	w.iv, w.number = w.expand("iv", 12), 0
}

// record adds one to out.
func (w *recordWriter) record(kind byte, p []byte) {
	inner := append(bytes.Clone(p), kind)
	head := []byte{23, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(head[3:], uint16(len(inner)+w.aead.Overhead()))
	nonce := bytes.Clone(w.iv)
	for i := range 8 {
		nonce[4+i] ^= byte(w.number >> (56 - 8*i))
	}
	w.number++
	w.out.Write(w.aead.Seal(head, nonce, inner, head))
}

// updateKey asks the peer for a key update too.
func (w *recordWriter) updateKey() {
	w.record(22, []byte{24, 0, 0, 1, 1})
	w.secret = w.expand("traffic upd", w.hash().Size())
	w.rekey()
}

// A client that asks for key updates, reads no answer, and has always more to read.
func TestTLS_AFloodOfKeyUpdatesEndsTheConnection(t *testing.T) {
	n := newNode(t, road{name: "poller over TLS", tls: true}, nil)
	var keyLog bytes.Buffer
	n.tls.KeyLogWriter = &keyLog
	other, _ := n.connect(t, "", nil)
	other.run(send(oneWrite, say("here")).hears(aText("here")))
	keyLog.Reset()
	n.receive = 16 << 10 // so that little fits into the kernel
	c, _ := n.connect(t, "", nil)
	w := newRecordWriter(t, c.conn.(*tls.Conn).ConnectionState().CipherSuite, keyLog.String())
	w.number = 1 // the handshake of HTTP was one record
	for range 10_000 {
		for range 12 { // crypto/tls wants data between any 16
			w.updateKey()
		}
		w.record(23, masked(finBit|opPong, ""))
	}
	var under *takeover.Conn
	n.any(func(c *Conn) bool {
		if c.inFrames.Load() == 0 {
			under = c.sock.(*tlsSocket).under
		}
		return false
	})
	wrote := make(chan error, 1)
	go func() {
		_, err := c.tcp().Write(w.out.Bytes())
		wrote <- err
	}()
	testkit.Eventually(t, "the connection ends", func() bool {
		if p := under.Pending(); p > takeover.MaxPending {
			t.Fatalf("%d bytes wait for a client that does not read", p)
		}
		return n.Connections() == 1
	})
	_ = c.tcp().SetWriteDeadline(time.Now().Add(time.Second))
	<-wrote
	other.run(send(oneWrite, say("still here")).hears(aText("still here")))
}
