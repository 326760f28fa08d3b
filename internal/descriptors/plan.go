package descriptors

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// unlimited is more than any kernel allows.
const unlimited = 1 << 40

// Limit is how many descriptors the process may have open (ulimit -n). Go raises the
// soft limit to the hard one when a process starts.
func Limit() int64 {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil || r.Cur > unlimited {
		return unlimited
	}
	return int64(r.Cur)
}

// Default is what a limit on connections is where the configuration has none: 80 %
// of the descriptors.
func Default() int64 { return Limit() * 8 / 10 }

// Plan shares the descriptors out.
type Plan struct {
	// Clients is for what clients can bring about: their connections, and those to
	// the backend that serve them.
	Clients *Budget
	// Webhooks and Forwards bound the connections of either.
	Webhooks, Forwards int

	limit, opened, clients int64
}

// Needs are what besides clients wants descriptors; 0 and false: nothing.
type Needs struct {
	Webhooks, Forwards int // how many connections at most
	Redis              bool
}

// What the process cannot do without. A move of a connection to another poller has
// it twice for a moment, a look-up of a name opens files and sockets.
const (
	minClients  = 8
	minAsking   = 4 // webhooks, forward
	forLocal    = 8 // push and admin
	forRedis    = 8
	forMoments  = 8
	ofProcess   = 8   // listeners, Go's netpoller, the lot's two, signals
	perPoller   = 2   // an epoll set and what wakes it
	mostLocal   = 512 // of a large limit push and admin have a 32nd, up to so many
	smallLimits = 8   // the reserve of a small limit is an eighth of it
)

// NewPlan shares out what the process may have and has not opened yet. It errs where
// that is too little to work with.
func NewPlan(n Needs) (*Plan, error) { return plan(Limit(), int64(opened()), n) }

// Renew shares the same out for other needs; Apply makes it count.
func (p *Plan) Renew(n Needs) (*Plan, error) {
	next, err := plan(p.limit, p.opened, n)
	if err != nil {
		return nil, err
	}
	next.Clients = p.Clients
	return next, nil
}

// Apply gives clients what this plan has for them.
func (p *Plan) Apply() { p.Clients.Resize(p.clients) }

func plan(limit, opened int64, n Needs) (*Plan, error) {
	used := opened + ofProcess + perPoller*int64(runtime.GOMAXPROCS(0))
	fixed := int64(forMoments)
	if n.Redis {
		fixed += forRedis
	}
	webhooks, forwards := min(n.Webhooks, minAsking), min(n.Forwards, minAsking)
	least := fixed + forLocal + int64(webhooks+forwards)
	if need := used + least + minClients; limit < need {
		return nil, fmt.Errorf("the limit of file descriptors (ulimit -n) is %d; this configuration needs at least %d", limit, need)
	}
	fixed += max(forLocal, min(limit/32, mostLocal))
	reserve := min(fixed+int64(n.Webhooks+n.Forwards), max(least, limit/smallLimits))
	p := &Plan{Webhooks: n.Webhooks, Forwards: n.Forwards, Clients: NewBudget(limit - used - reserve), limit: limit, opened: opened, clients: limit - used - reserve}
	if asking := int(reserve - fixed); asking < n.Webhooks+n.Forwards {
		p.Webhooks = max(webhooks, min(n.Webhooks, asking-min(n.Forwards, asking/2)))
		p.Forwards = max(forwards, min(n.Forwards, asking-p.Webhooks))
	}
	return p, nil
}

// opened is how many descriptors are open; those that were inherited count too.
func opened() int {
	list, err := os.ReadDir("/dev/fd")
	if err != nil {
		return 3
	}
	return len(list)
}
