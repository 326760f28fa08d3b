package admin

import (
	"net/http"

	"github.com/pushcart/pushcart/internal/apierror"
)

// Drained is the answer to POST /drain.
type Drained struct {
	// Connections are the WebSockets that are left: those of clients that did not answer
	// their Close in time.
	Connections int `json:"connections"`
}

// drain answers when the node is drained, which goes on if the caller leaves.
func (s *Server) drain(w http.ResponseWriter, r *http.Request) {
	if s.o.Drain == nil {
		fail(w, apierror.New(apierror.NotFound, "no such page"))
		return
	}
	answer(w, http.StatusOK, Drained{Connections: s.o.Drain(r.Context())})
}
