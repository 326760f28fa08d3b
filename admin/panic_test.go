package admin

import (
	"log/slog"
	"net/http"
	"testing"

	"github.com/pushcart/pushcart/config"
)

func TestHandler_AnswersAPanicWith500(t *testing.T) {
	count := 0
	s := New(Options{
		Config: config.Default().Admin, Log: slog.New(slog.DiscardHandler), Panics: func() { count++ },
		Metrics: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("test") }),
	})
	if w := get(s, "/metrics", "localhost", nil); w.Code != http.StatusInternalServerError || count != 1 {
		t.Errorf("got %d, %d panics counted", w.Code, count)
	}
	if w := get(s, "/healthz", "localhost", nil); w.Code != http.StatusOK {
		t.Errorf("then got %d", w.Code)
	}
}
