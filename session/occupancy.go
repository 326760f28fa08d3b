package session

import (
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/internal/clientaddr"
	"github.com/pushcart/pushcart/internal/descriptors"
)

// occupancy counts connections against the limits of SPEC §3 that are this node's
// own. What is not limited is not counted, but for the total.
type occupancy struct {
	total atomic.Int64
	fds   *descriptors.Budget

	mu    sync.Mutex // guards all below
	byIP  map[netip.Addr]*address
	swept time.Time
}

// address is what one IP address (IPv6: /64) has and may have.
type address struct {
	connections int
	rate        *rate.Limiter // nil: not limited
}

// burstSeconds: limits.connect_rate_per_ip allows bursts of so many seconds'
// worth (SPEC §3).
const burstSeconds = 10

func newOccupancy(fds *descriptors.Budget) *occupancy {
	return &occupancy{fds: fds, byIP: map[netip.Addr]*address{}}
}

func (a *occupancy) count() int { return int(a.total.Load()) }

// mostConnections is how many limits.connections allows; 0 is a share of the file
// descriptors.
func mostConnections(configured int) int64 {
	if configured == 0 {
		return descriptors.Default()
	}
	return int64(configured)
}

// enter counts a new connection; false: the node is full.
func (a *occupancy) enter(most int) bool {
	if a.total.Add(1) > mostConnections(most) || !a.fds.Take() {
		a.total.Add(-1)
		return false
	}
	return true
}

// enterIP counts it for its address, after enter; else it returns the limit that the
// address reached. Where addresses have no limit nothing is counted.
func (a *occupancy) enterIP(ip netip.Addr, l *config.Limits) (limit string, counted bool) {
	if !countsAddresses(l) {
		return "", false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sweepLocked()
	of := a.addressLocked(ip)
	if r := l.ConnectRatePerIP; r > 0 {
		of.rate = limiter(of.rate, r, burstSeconds)
	}
	if l.ConnectRatePerIP > 0 && !of.rate.Allow() {
		return "limits.connect_rate_per_ip", false
	}
	if n := l.ConnectionsPerIP; n > 0 && of.connections >= n {
		return "limits.connections_per_ip", false
	}
	of.connections++
	return "", true
}

// countsAddresses says whether a limit is one of addresses.
func countsAddresses(l *config.Limits) bool { return l.ConnectionsPerIP > 0 || l.ConnectRatePerIP > 0 }

func (a *occupancy) addressLocked(ip netip.Addr) *address {
	key := clientaddr.Key(ip)
	of := a.byIP[key]
	if of == nil {
		of = &address{}
		a.byIP[key] = of
	}
	return of
}

// adopt counts a connection for its address that came when nothing was counted.
func (a *occupancy) adopt(s *Session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.counted == uncounted {
		s.counted = counted
		a.addressLocked(s.RemoteIP()).connections++
	}
}

// limiter is one of perSecond: old, if it has one, with what is left of its burst.
func limiter(old *rate.Limiter, perSecond, seconds float64) *rate.Limiter {
	if old == nil {
		return rate.NewLimiter(rate.Limit(perSecond), burst(perSecond, seconds))
	}
	if old.Limit() != rate.Limit(perSecond) {
		old.SetLimit(rate.Limit(perSecond))
		old.SetBurst(burst(perSecond, seconds))
	}
	return old
}

// burst is how many may come at once where so many per second may come.
func burst(perSecond, seconds float64) int {
	return int(min(max(1, perSecond*seconds), math.MaxInt32))
}

// sweepLocked forgets, once a minute, addresses that have no connection and whose
// rate is not used up.
func (a *occupancy) sweepLocked() {
	now := time.Now()
	if now.Sub(a.swept) < time.Minute {
		return
	}
	a.swept = now
	for key, of := range a.byIP {
		if of.connections == 0 && (of.rate == nil || of.rate.TokensAt(now) >= float64(of.rate.Burst())) {
			delete(a.byIP, key)
		}
	}
}

// release undoes enter, and enterIP where that counted.
func (a *occupancy) release(ip netip.Addr, counted bool) {
	a.giveBack()
	if counted {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.forgetLocked(ip)
	}
}

// left is release for a session, which nobody counts from now on.
func (a *occupancy) left(s *Session) {
	a.giveBack()
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.counted == counted {
		a.forgetLocked(s.RemoteIP())
	}
	s.counted = released
}

func (a *occupancy) giveBack() {
	a.total.Add(-1)
	a.fds.Give()
}

func (a *occupancy) forgetLocked(ip netip.Addr) {
	key := clientaddr.Key(ip)
	if of := a.byIP[key]; of != nil {
		of.connections--
		if of.connections == 0 && of.rate == nil {
			delete(a.byIP, key)
		}
	}
}
