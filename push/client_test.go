package push

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func client(t *testing.T, address, token string) *Client {
	t.Helper()
	c, err := NewClient(address, token)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClient_TakesAddressesInEveryForm(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.URL.Path)) }))
	defer s.Close()
	addr := strings.TrimPrefix(s.URL, "http://")
	for _, address := range []string{addr, s.URL, s.URL + "/", s.URL + "/v1/push"} {
		c := client(t, address, "")
		if got, err := c.Push(t.Context(), &ClientPush{}); err != nil || string(got) != "/v1/push" {
			t.Errorf("%s: got %q, %v", address, got, err)
		}
		c.http.CloseIdleConnections()
	}
	for _, address := range []string{"", "ftp://h", "http://", "http://h/other", "http://%zz", "a b"} {
		if _, err := NewClient(address, ""); err == nil {
			t.Errorf("%q was taken", address)
		}
	}
}
