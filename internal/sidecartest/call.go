package sidecartest

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
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
