package redisfailures

import (
	"bufio"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/pushcart/pushcart/internal/redistest"
)

// deployment is a Redis as nodes are told of it.
type deployment struct {
	// yaml is their section redis, without the braces.
	yaml string
	// serving are the servers that the nodes use now.
	serving func() []*redistest.Server
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

// presence is what a deployment has of its nodes: how many connections each has, and
// how many subscribers each channel.
type traces struct {
	connections, channels map[string]int
}

// traces looks at all servers.
func (d *deployment) traces(t *testing.T) traces {
	t.Helper()
	found := traces{connections: map[string]int{}, channels: map[string]int{}}
	for _, s := range d.serving() {
		for lines := bufio.NewScanner(strings.NewReader(s.Do(t, "CLIENT", "LIST"))); lines.Scan(); {
			for _, field := range strings.Fields(lines.Text()) {
				if name, ok := strings.CutPrefix(field, "name=pushcart-"); ok {
					found.connections[name]++
				}
			}
		}
		for channel, n := range s.Subscribers(t) {
			found.channels[channel] += n
		}
	}
	return found
}

// differs says what there is more or less than before.
func (a traces) differs(b traces) (out []string) {
	for what, maps2 := range map[string][2]map[string]int{"connections of": {a.connections, b.connections}, "subscribers of": {a.channels, b.channels}} {
		names := map[string]bool{}
		for _, m := range maps2 {
			for name := range m {
				names[name] = true
			}
		}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			if x, y := maps2[0][name], maps2[1][name]; x != y {
				out = append(out, fmt.Sprintf("%s %s: %d before, %d after", what, name, x, y))
			}
		}
	}
	return out
}
