package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/apierror"
)

// Reloaded is what came of reading the configuration again, and the answer to POST
// /reload.
type Reloaded struct {
	// Changed are the keys that have their new value.
	Changed []config.Change `json:"changed"`
	// Restart are those that get it when the process is started again.
	Restart []config.Change `json:"restart"`
}

// Problems is the answer where the new configuration is not good.
type Problems struct {
	Error *apierror.Error `json:"error"`
	// Problems are all that are wrong with it.
	Problems []Problem `json:"problems"`
}

// Problem is one, with its place in the file and its key, if it has them.
type Problem struct {
	Where   string `json:"where,omitempty"`
	Key     string `json:"key,omitempty"`
	Message string `json:"message"`
}

// writes lets through what may change something: a POST, and none that a page of
// another site makes a browser send.
func (s *Server) writes(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodPost:
			w.Header().Set("Allow", http.MethodPost)
			fail(w, apierror.New(apierror.MethodNotAllowed, "this path takes POST"))
		case !sameOrigin(r):
			fail(w, apierror.New(apierror.Forbidden, "not for pages of other sites"))
		default:
			h(w, r)
		}
	}
}

// sameOrigin is for browsers that know Origin and not Sec-Fetch-Site.
func sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && u.Host == r.Host
}

func (s *Server) reload(w http.ResponseWriter, _ *http.Request) {
	if s.o.Reload == nil {
		fail(w, apierror.New(apierror.NotFound, "no such page"))
		return
	}
	done, err := s.o.Reload()
	var problems config.Problems
	var refused *apierror.Error
	switch {
	case errors.As(err, &problems):
		failAll(w, problems)
	case errors.As(err, &refused):
		fail(w, refused)
	case err != nil:
		fail(w, apierror.New(apierror.Internal, err.Error()))
	default:
		done.Changed, done.Restart = append([]config.Change{}, done.Changed...), append([]config.Change{}, done.Restart...)
		answer(w, http.StatusOK, done)
	}
}

func failAll(w http.ResponseWriter, problems config.Problems) {
	e := apierror.New(apierror.InvalidArgument, "the new configuration is invalid; the old one stays")
	body := Problems{Error: e}
	for _, p := range problems {
		body.Problems = append(body.Problems, Problem{Where: p.Where, Key: p.Path, Message: p.Message})
	}
	answer(w, e.Code.Status(), body)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
