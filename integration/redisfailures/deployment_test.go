package redisfailures

import (
	"bufio"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/redistest"
)

// deployment is a Redis as the nodes are configured for it.
type deployment struct {
	// yaml is their section redis, without the braces.
	yaml string
	// serving are the servers that the nodes use now.
	serving func() []*redistest.Server
	// loses says whether a channel is on the server that a failure with mayLose kills.
	loses func(channel string) bool
	// wrap comes before the command of a node.
	wrap []string
}

// standalone is one server, at an address that the test can point elsewhere and cut.
type standalone struct {
	deployment
	server *redistest.Server
	vip    *redistest.VIP
}

func newStandalone(t *testing.T, args ...string) *standalone {
	t.Helper()
	d := &standalone{server: redistest.StartWith(t, args...)}
	d.vip = redistest.NewVIP(t, d.server.Addr)
	d.yaml = "addresses: ['" + d.vip.Addr + "']"
	d.serving = func() []*redistest.Server { return []*redistest.Server{d.server} }
	return d
}

// eachPrimary is how many connections a node has to each primary at most (docs/redis.md);
// some are made when they are needed.
const eachPrimary = 7

// traces is what a deployment has of its nodes: how many connections each has, and how
// many subscribers each channel.
type traces struct {
	primaries             int
	connections, channels map[string]int
}

// traces looks at all servers.
func (d *deployment) traces(t *testing.T) traces {
	t.Helper()
	found := traces{connections: map[string]int{}, channels: map[string]int{}}
	for _, s := range d.serving() {
		if strings.Contains(s.Do(t, "ROLE"), "master") {
			found.primaries++
		}
		for lines := bufio.NewScanner(strings.NewReader(s.Do(t, "CLIENT", "LIST"))); lines.Scan(); {
			for _, field := range strings.Fields(lines.Text()) {
				if name, ok := strings.CutPrefix(field, "name=pushcart-"); ok {
					found.connections[name]++
				}
			}
		}
		for channel, n := range s.Subscribers(t) {
			if !strings.HasPrefix(channel, "__sentinel__") {
				found.channels[channel] += n
			}
		}
	}
	return found
}

// differs says what there is less than before, or more.
func (before traces) differs(after traces) (out []string) {
	for node, n := range after.connections {
		if before.connections[node] == 0 || n > eachPrimary*after.primaries {
			out = append(out, fmt.Sprintf("connections of %s: %d before, %d after", node, before.connections[node], n))
		}
	}
	for channel := range before.channels {
		after.channels[channel] += 0
	}
	for channel, n := range after.channels {
		if was := before.channels[channel]; n != was {
			out = append(out, fmt.Sprintf("subscribers of %s: %d before, %d after", channel, was, n))
		}
	}
	slices.Sort(out)
	return out
}
