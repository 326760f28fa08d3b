package redisfailures

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// app gets events of connections, users, channels and members, and keeps the last that it
// heard of each.
type app struct {
	*httptest.Server
	mu sync.Mutex // guards all below
	// ids are those of the events of one connection, by event and connection.
	ids map[string]map[string]bool
	// last is whether something is there, by what; order is the sequence of that event.
	last  map[string]bool
	order map[string]string
}

// refused is a user of whom the app wants to hear nothing: those events are dead letters.
const refused = "refused"

const whsec = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

func newApp(t *testing.T) *app {
	t.Helper()
	a := &app{ids: map[string]map[string]bool{}, last: map[string]bool{}, order: map[string]string{}}
	a.Server = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.Close)
	return a
}

func (a *app) yaml() string {
	return "backend: {url: '" + a.URL + "'}\nwebhook: {url: /hooks/push, secrets: [" + whsec + "], timeout: 2s, retry: {min: 100ms, max: 1s}, events: [connected, disconnected, " +
		"user.online, user.offline, channel.occupied, channel.vacated, presence.join, presence.leave]}\n"
}

func (a *app) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h := r.Header
	if h.Get("ce-userid") == refused {
		w.WriteHeader(http.StatusGone)
		return
	}
	w.WriteHeader(http.StatusNoContent)
	kind := strings.TrimPrefix(h.Get("ce-type"), "pushcart.")
	if kind == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := h.Get("ce-connectionid"); c != "" {
		key := kind + " " + c
		if a.ids[key] == nil {
			a.ids[key] = map[string]bool{}
		}
		a.ids[key][h.Get("ce-id")] = true
		return
	}
	var about struct {
		Channel string
		User    string `json:"user_id"`
	}
	_ = json.Unmarshal(body, &about)
	group, came, _ := strings.Cut(kind, ".")
	key := strings.Join([]string{group, about.Channel, about.User}, " ")
	if group == "user" {
		key = "user " + h.Get("ce-userid")
	}
	if seq := h.Get("ce-sequence"); seq > a.order[key] { // 20 digits
		a.order[key] = seq
		a.last[key] = came == "online" || came == "occupied" || came == "join"
	}
}

// wrong compares what the app knows with the truth: clients that are connected now, and
// those that were. Of twice there must be none; of missing also none, unless Redis lost
// what it had.
func (a *app) wrong(clients []*client) (missing, twice []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	there, known := map[string]bool{}, map[string]bool{}
	for _, c := range clients {
		id, ended := c.identity()
		a.told(&missing, &twice, "connected", id)
		if ended {
			a.told(&missing, &twice, "disconnected", id)
		}
		for _, key := range c.facts() {
			known[key] = true
			there[key] = there[key] || !ended
		}
	}
	for key := range known {
		if a.last[key] != there[key] {
			missing = append(missing, fmt.Sprintf("%s: the app heard %v, it is %v", key, a.last[key], there[key]))
		}
	}
	return missing, twice
}

func (a *app) told(missing, twice *[]string, kind, connection string) {
	switch n := len(a.ids[kind+" "+connection]); {
	case n == 0:
		*missing = append(*missing, kind+" "+connection)
	case n > 1:
		*twice = append(*twice, fmt.Sprintf("%s %s under %d ids", kind, connection, n))
	}
}
