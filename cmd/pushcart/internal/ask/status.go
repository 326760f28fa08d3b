package ask

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pushcart/pushcart/cmd/pushcart/internal/cli"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/plainjson"
)

// statusCommand is pushcart status.
func (p *Commands) statusCommand() *cobra.Command {
	var a asker
	var admin string
	c := &cobra.Command{
		Use: "status", Short: "show the node and its cluster at a glance", Args: cli.NoArguments,
		Long: "Show the node and its cluster at a glance: what its admin listener says about it, and its push API about all nodes.\n" +
			"Exit 0 if both answered, else 1; pushcart health is for probes.",
	}
	a.flags(c)
	c.Flags().StringVar(&admin, "admin-address", "", "`ADDRESS` of the admin listener, host:port, instead of admin.listen")
	cli.JSONFlag(c, &a.json)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if admin == "" {
			cfg, err := cli.AdminSection(a.file, "admin.listen")
			if err != nil {
				return err
			}
			admin = cfg.Listen
		}
		ctx, cancel := context.WithTimeout(c.Context(), statusTime)
		defer cancel()
		s := Status{Admin: cli.Reachable(admin)}
		problems := errors.Join(s.askNode(ctx), s.askCluster(ctx, &a))
		var usage cli.UsageError
		if errors.As(problems, &usage) {
			return usage
		}
		if a.json {
			b, err := plainjson.Append(nil, s)
			if err != nil {
				return err
			}
			fmt.Fprintf(p.stdout, "%s\n", b)
		} else {
			s.print(p.stdout)
			p.incomplete(s.Cluster == nil || s.Cluster.Complete)
		}
		return problems
	}
	return c
}

// statusTime bounds all questions together.
const statusTime = 10 * time.Second

// Status is what there is to say at a glance; what could not be asked is nil.
type Status struct {
	Admin   string       `json:"admin"`
	Node    *nodeStatus  `json:"node"`
	Cluster *clusterList `json:"cluster"`
}

// nodeStatus is the node whose admin listener was asked.
type nodeStatus struct {
	Ready       bool      `json:"ready"`
	Redis       string    `json:"redis"` // up, down or none
	RedisError  string    `json:"redis_error,omitempty"`
	Version     string    `json:"version"`
	Start       time.Time `json:"start"`
	Connections int       `json:"connections"`
	Most        int       `json:"connections_limit"`
	Users       int       `json:"users"`
	Channels    int       `json:"channels"`
	HTTP        int       `json:"http_connections"`
	Listener    int       `json:"listener_limit"` // of HTTP connections and WebSockets together
	Waiting     int       `json:"webhooks_waiting"`
	Oldest      int       `json:"webhooks_oldest_seconds"`
	Shared      int       `json:"webhooks_waiting_redis"` // of all nodes, as are the dead letters
	Dead        int       `json:"dead_letters"`
	Asked       int       `json:"questions_waiting"`
	Outbox      int       `json:"outbox_bytes"`
	OutboxMost  int       `json:"outbox_limit_bytes"`
	Breakers    []string  `json:"breakers_open"` // events that the app is not asked about
	History     *history  `json:"history"`       // nil with Redis, which has it
}

// history is what a node without Redis keeps in memory.
type history struct {
	Bytes   int `json:"bytes"`
	Streams int `json:"streams"`
}

// clusterList is what GET /v1/nodes answers.
type clusterList struct {
	Nodes    []hub.NodeInfo `json:"nodes"`
	Complete bool           `json:"complete"`
}

func (s *Status) askCluster(ctx context.Context, a *asker) error {
	var list clusterList
	if _, err := a.get(ctx, &list, nil, "nodes"); err != nil {
		return err
	}
	s.Cluster = &list
	return nil
}

// askNode reads /readyz and /metrics.
func (s *Status) askNode(ctx context.Context) error {
	ready, err := fromAdmin(ctx, s.Admin, "/readyz")
	if err != nil {
		return err
	}
	var n nodeStatus
	if json.Unmarshal([]byte(ready), &n) != nil {
		return fmt.Errorf("the answer of %s is not that of an admin listener; --admin-address names another", s.Admin)
	}
	text, err := fromAdmin(ctx, s.Admin, "/metrics")
	if err != nil {
		return err
	}
	n.read(text)
	s.Node = &n
	return nil
}

// read takes its numbers from the text of /metrics.
func (n *nodeStatus) read(text string) {
	values := metricValues(text)
	for name, into := range map[string]*int{
		"pushcart_connections": &n.Connections, "pushcart_connections_limit": &n.Most,
		"pushcart_users": &n.Users, "pushcart_channels": &n.Channels,
		"pushcart_client_connections": &n.HTTP, "pushcart_client_connections_limit": &n.Listener,
		"pushcart_webhook_outbox": &n.Waiting, "pushcart_webhook_outbox_oldest_seconds": &n.Oldest, "pushcart_webhook_outbox_redis": &n.Shared,
		"pushcart_webhook_dead_letters": &n.Dead, "pushcart_webhook_asked": &n.Asked,
		"pushcart_outbox_bytes": &n.Outbox, "pushcart_outbox_limit_bytes": &n.OutboxMost,
	} {
		*into = int(values[name])
	}
	if bytes, ok := values["pushcart_history_bytes"]; ok {
		n.History = &history{int(bytes), int(values["pushcart_history_streams"])}
	}
	n.Breakers = []string{}
	for _, m := range openBreaker.FindAllStringSubmatch(text, -1) {
		n.Breakers = append(n.Breakers, m[1])
	}
	n.Start = time.UnixMilli(int64(values["process_start_time_seconds"] * 1000)).UTC()
	if m := buildVersion.FindStringSubmatch(text); m != nil {
		n.Version = m[1]
	}
}

var (
	buildVersion = regexp.MustCompile(`(?m)^pushcart_build_info\{.*version="([^"]*)"`)
	openBreaker  = regexp.MustCompile(`(?m)^pushcart_webhook_breaker\{event="([a-z]+)"\} 1$`)
)

// metricValues are the metrics without labels.
func metricValues(text string) map[string]float64 {
	values := map[string]float64{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			values[name] = v
		}
	}
	return values
}

// fromAdmin reads a page of the admin listener; a node that is not ready says so with
// 503.
func fromAdmin(ctx context.Context, address, path string) (string, error) {
	resp, err := getAdmin(ctx, address, path)
	if err != nil {
		return "", fmt.Errorf("no answer from the admin listener at %s: %w; is pushcart running there? --admin-address names another", address, Cause(err))
	}
	defer resp.Body.Close()
	const most = 4 << 20
	b, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err == nil && resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
		err = fmt.Errorf("%s of %s: %s; is it an admin listener? --admin-address names another", path, address, resp.Status)
	}
	return string(b), err
}

// print is for people.
func (s *Status) print(out io.Writer) {
	var rows [][]string
	if n := s.Node; n != nil {
		rows = n.rows(s.Admin)
	}
	if s.Cluster == nil {
		table(out, rows)
		return
	}
	total := 0
	nodes := [][]string{{"NODE", "ADDRESS", "VERSION", "UP", "CONNECTIONS"}}
	for _, n := range s.Cluster.Nodes {
		total += n.Connections
		nodes = append(nodes, []string{n.NodeID, n.Address, n.Version, uptime(n.Start), strconv.Itoa(n.Connections)})
	}
	table(out, append(rows, []string{"cluster", count(len(s.Cluster.Nodes), "node") + ", " + count(total, "connection")}))
	fmt.Fprintln(out)
	table(out, nodes)
}

// rows are the node for people.
func (n *nodeStatus) rows(admin string) (rows [][]string) {
	add := func(name, format string, args ...any) {
		rows = append(rows, []string{name, fmt.Sprintf(format, args...)})
	}
	state := "ready"
	if !n.Ready {
		state = "not ready (it starts or drains)"
	}
	add("node", "%s, up %s, version %s, admin at %s", state, uptime(n.Start), n.Version, admin)
	add("here", "%s%s, %s, %s, %s%s", count(n.Connections, "connection"), of(n.Most), count(n.Users, "user"),
		count(n.Channels, "channel"), count(n.HTTP, "HTTP connection"), of(n.Listener-n.Connections))
	add("waiting", "%s, %s to the app, %s%s for slow clients", count(n.Waiting, "webhook"), count(n.Asked, "question"),
		count(n.Outbox, "byte"), of(n.OutboxMost))
	add("outbox", "%s", n.outbox())
	if len(n.Breakers) > 0 {
		add("breaker", "open: the app is not asked about %s, because it did not answer", strings.Join(n.Breakers, ", "))
	} else {
		add("breaker", "closed")
	}
	if h := n.History; h != nil {
		add("history", "%s of %s, in memory", count(h.Bytes, "byte"), count(h.Streams, "stream"))
	}
	switch {
	case n.Redis == "none":
		add("redis", "none: one node, in memory")
	case n.RedisError != "":
		add("redis", "%s: %s", n.Redis, n.RedisError)
	default:
		add("redis", "%s", n.Redis)
	}
	return rows
}

// outbox is what the app was not told.
func (n *nodeStatus) outbox() string {
	parts := []string{"nothing waits here"}
	if n.Waiting > 0 {
		parts[0] = fmt.Sprintf("the oldest webhook has waited %v", time.Duration(n.Oldest)*time.Second)
	}
	if n.Shared > 0 {
		parts = append(parts, fmt.Sprintf("%d in Redis", n.Shared))
	}
	parts = append(parts, count(n.Dead, "dead letter"))
	if n.Dead > 0 {
		parts[len(parts)-1] += " (pushcart outbox list --state dead)"
	}
	return strings.Join(parts, ", ")
}

// of names a limit, if it is known.
func of(most int) string {
	if most <= 0 {
		return ""
	}
	return fmt.Sprintf(" (limit %d)", most)
}

// uptime is how long ago something began, in its two largest units.
func uptime(since time.Time) string {
	d := max(0, time.Since(since))
	switch {
	case d < time.Hour:
		return d.Truncate(time.Second).String()
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
	}
	return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}
