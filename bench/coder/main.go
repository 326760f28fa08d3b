// Command coder is a WebSocket echo server on github.com/coder/websocket, which
// go run ./bench flood compares the sidecar with. It is a module of its own, so
// that nothing of it comes into the sidecar's.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"

	"github.com/coder/websocket"
)

func main() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ln.Addr())
	log.Fatal(http.Serve(ln, http.HandlerFunc(echo)))
}

func echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, CompressionMode: websocket.CompressionNoContextTakeover,
	})
	if err != nil {
		return
	}
	defer func() { _ = c.CloseNow() }()
	ctx := context.Background()
	for {
		kind, message, err := c.Read(ctx)
		if err != nil {
			return
		}
		if err := c.Write(ctx, kind, message); err != nil {
			return
		}
	}
}
