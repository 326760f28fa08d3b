package sidecartest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pushcart/pushcart/internal/testkit"
)

func newClient() *http.Client {
	return &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
}

// HangUp closes the connections of calls that ended: a server has a goroutine for each.
func (s *Sidecar) HangUp() { s.client.CloseIdleConnections() }

// API calls the push API. The status is 0 where there was no answer, and the body says why.
func (s *Sidecar) API(method, path, body string) (status int, answer string) {
	return s.call(method, "http://"+s.Push+path, body)
}

// Ready is what /readyz answers; the query may be "".
func (s *Sidecar) Ready(query string) (status int, answer string) {
	return s.call("GET", "http://"+s.Admin+"/readyz?"+query, "")
}

func (s *Sidecar) call(method, url, body string) (status int, answer string) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// AwaitRedis waits until /readyz?require=redis answers with a status: 200 with Redis, 503
// without.
func (s *Sidecar) AwaitRedis(t testing.TB, want int) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprint("readyz?require=redis is ", want), func() bool {
		status, _ := s.Ready("require=redis")
		return status == want
	})
}

// Answer is what the push API answers to a push that was taken.
type Answer struct {
	ID                     string
	Nodes                  int
	Delivered, Slow, Acked *int
	Duplicate              bool
}

// Pushed sends a push that must be taken.
func (s *Sidecar) Pushed(t testing.TB, body string) (a Answer) {
	t.Helper()
	status, text := s.API("POST", "/v1/push", body)
	if status != http.StatusOK {
		t.Fatalf("push %s: %d %s", body, status, text)
	}
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// Metrics are what /metrics serves: values by name with labels. There are none where it
// does not answer.
func (s *Sidecar) Metrics() map[string]float64 {
	values := map[string]float64{}
	_, text := s.call("GET", "http://"+s.Admin+"/metrics", "")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			values[line[:i]], _ = strconv.ParseFloat(line[i+1:], 64)
		}
	}
	return values
}

// Metric is one of Metrics, -1 where there is none.
func (s *Sidecar) Metric(name string) float64 {
	if v, ok := s.Metrics()[name]; ok {
		return v
	}
	return -1
}

// Goroutines counts its goroutines by the function that each began with. It needs
// admin.pprof. Workers that fasthttp keeps for ten seconds after a request are left out.
func (s *Sidecar) Goroutines() map[string]int {
	counts := map[string]int{}
	_, text := s.call("GET", "http://"+s.Admin+"/debug/pprof/goroutine?debug=1", "")
	for group := range strings.SplitSeq(text, "\n\n") {
		lines := strings.Split(strings.TrimSpace(group), "\n")
		for i, line := range lines { // "3 @ 0x… 0x…", then a line for each frame
			number, _, ok := strings.Cut(line, " @ ")
			if !ok || i == len(lines)-1 {
				continue
			}
			frame := strings.Fields(lines[len(lines)-1])
			function, _, _ := strings.Cut(frame[len(frame)-2], "+0x")
			if n, err := strconv.Atoi(number); err == nil && !strings.Contains(function, "fasthttp.(*workerPool)") {
				counts[function] += n
			}
		}
	}
	return counts
}
