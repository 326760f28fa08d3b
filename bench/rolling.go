package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"
)

const (
	rollingUsers  = 2_000
	rollingMovers = 200
	// closeInFlight is how long a Close frame may take from the server's decision
	// to the client's eye. A push that is answered less than this before its client
	// saw the Close may have come after the decision, to a connection that was at
	// its end; it counts as one between two connections.
	closeInFlight = 250 * time.Millisecond
)

// rolling restarts two nodes over Redis, one after the other, under a steady stream
// of pushes. Everybody must be back at the end, every connection's end must have
// been told, and every push must have arrived whose user was connected all the
// time: its client saw the 101 before the push was sent, and no Close until
// closeInFlight after the answer. A push may be lost only to a user that was
// between two connections. Before that, users that open their next connection
// before they close the last must get every push.
func rolling(o options) error {
	redis, stopRedis, err := redisFor(o)
	if err != nil {
		return err
	}
	defer stopRedis()
	b, err := newBackend()
	if err != nil {
		return err
	}
	defer b.close()
	lines := []string{"auth: {jwt: {secret: " + secret + "}}", "redis: {addresses: ['" + redis + "']}",
		b.config("connected, disconnected"), "shutdown: {drain: 5s}"}
	var all [2]*server
	for i := range all {
		if all[i], err = start(o, lines...); err != nil {
			return err
		}
		defer func() { all[i].stop() }()
	}
	if err := overlapping(all[:]); err != nil {
		return err
	}
	moved := b.count("connected", "")
	if err := wait(func() bool { return b.count("disconnected", "") == moved }); err != nil {
		return fmt.Errorf("%d of %d movers' ends were told: %w", b.count("disconnected", ""), moved, err)
	}
	return restarting(o, &all, lines, b, moved)
}

// restarting is the rolling restart; told is how many connections came and went
// before.
func restarting(o options, all *[2]*server, lines []string, b *backend, told int) error {
	n := newNumbered(1 << 17)
	r, err := newRoamers(rollingUsers, []string{all[0].public, all[1].public}, n.frame)
	if err != nil {
		return err
	}
	defer r.close()
	everybody := func() bool { return r.fleet.connections() == rollingUsers }
	if err := wait(everybody); err != nil {
		return err
	}
	n.start([]string{all[0].push, all[1].push}, 500, func() int { return rand.IntN(rollingUsers) })
	for i, s := range all {
		time.Sleep(2 * time.Second)
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		if err := s.await(15 * time.Second); err != nil {
			return fmt.Errorf("node %d did not end well: %w", i, err)
		}
		if all[i], err = s.restart(o, lines...); err != nil {
			return err
		}
	}
	back := wait(everybody)
	time.Sleep(2 * time.Second)
	err = errors.Join(back, n.stop())
	time.Sleep(time.Second) // for what is on its way
	v := n.judge(func(p numberedPush) bool { return r.stayed(p.user, p.sent, p.done.Add(closeInFlight)) })
	fmt.Printf("rolling restart of 2 nodes, %d users: %v; close codes %v; %d users connected at the end\n",
		rollingUsers, v, r.codes, r.fleet.connections())
	return errors.Join(err, v.err(), r.audit(all[:], b, told))
}

// audit holds the webhooks to what the clients saw.
func (r *roamers) audit(all []*server, b *backend, told int) error {
	opened := int(r.opened.Load())
	settled := wait(func() bool {
		return b.count("connected", "")-told == opened && b.count("disconnected", "")-told == opened-r.fleet.connections()
	})
	fmt.Printf("rolling restart: %d connects, %d connected webhooks, %d disconnected webhooks (%d with cause drain), %d open by the clients, %.0f by the nodes, %d repeated\n",
		opened, b.count("connected", "")-told, b.count("disconnected", "")-told, b.count("disconnected", "drain"),
		r.fleet.connections(), all[0].metrics()["pushcart_connections"]+all[1].metrics()["pushcart_connections"], b.again)
	return settled
}

// overlap is how long both connections of a move are open. A push that was made
// before the next one was is on its way to the last one only: who closes that at
// once may close it before the push is there.
const overlap = 250 * time.Millisecond

// overlapping moves users between the nodes, the next connection opened before the
// last is closed, while pushes come.
func overlapping(all []*server) error {
	n := newNumbered(1 << 16)
	f, err := newFleet(n.frame)
	if err != nil {
		return err
	}
	defer f.close()
	if err := f.dial(all[0].public, rollingMovers, userHeader); err != nil {
		return err
	}
	n.start([]string{all[0].push, all[1].push}, 1_000, func() int { return rand.IntN(rollingMovers) })
	moves := 0
	for begin := time.Now(); time.Since(begin) < 5*time.Second; moves++ {
		id := rand.IntN(rollingMovers)
		old := f.newest(id)
		if err := f.open(all[rand.IntN(len(all))].public, id, userHeader(id)); err != nil {
			return err
		}
		time.AfterFunc(overlap, func() { f.leave(old) })
	}
	err = n.stop()
	time.Sleep(time.Second) // for what is on its way
	v := n.judge(func(numberedPush) bool { return true })
	fmt.Printf("rolling, %d users in %d moves, the next connection opened 250 ms before the last is closed: %v\n", rollingMovers, moves, v)
	for id := range rollingMovers {
		f.leave(f.newest(id))
	}
	return errors.Join(err, v.err(), wait(func() bool { return f.connections() == 0 }))
}
