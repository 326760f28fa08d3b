package admin

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/config"
)

func TestDrain_SaysHowManyAreLeft(t *testing.T) {
	s := New(Options{Config: config.Admin{Listen: "127.0.0.1:0"}, Metrics: someMetrics, Drain: func(context.Context) int { return 3 }})
	w := httptest.NewRecorder()
	s.http.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://127.0.0.1/drain", nil))
	if got := strings.TrimSpace(w.Body.String()); w.Code != http.StatusOK || got != `{"connections":3}` {
		t.Errorf("got %d %s", w.Code, got)
	}
}
