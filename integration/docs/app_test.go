package docs

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// startApp is the reader's own app, on port 3000. It knows one user, answers messages
// in capitals and leaves signatures to the apps of the docs, which are tested for it.
func startApp(t *testing.T) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:3000")
	if err != nil {
		t.Fatal(err)
	}
	routes := http.NewServeMux()
	routes.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<h1>the app</h1>\n") })
	routes.HandleFunc("GET /me", func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Cookie"), "session=") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"user":{"id":42}}`)
	})
	routes.HandleFunc("POST /hooks/push", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.Header.Get("Ce-Type") {
		case "pushcart.connect":
			_, _ = io.WriteString(w, `{"user_id":"42"}`)
		case "pushcart.message":
			w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
			_, _ = w.Write(bytes.ToUpper(body))
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	})
	server := &http.Server{Handler: routes}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close() })
}
