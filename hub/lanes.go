package hub

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/hub/internal/envelope"
	"github.com/pushcart/pushcart/hub/internal/registry"
)

const (
	unicastLanes = 64
	// broadcastLanes: the first is for everyone, as that takes longest, the others
	// for channels.
	broadcastLanes = 64
	// maxWaiting bounds the bytes that wait for their fan-out, for unicast and
	// broadcast each.
	maxWaiting = 128 << 20
	// taskCost is what a task takes beside its payload.
	taskCost = 128
	// batchAtOnce bounds how many messages of one topic are joined, so that a busy
	// topic does not keep its lane from the others, and batchBytes how large they are
	// together: no larger than what a socket takes at once, so that a batch alone
	// does not fill the outbox of a connection that reads.
	batchAtOnce = 64
	batchBytes  = 64 << 10
	// crowded is how many messages may wait in a broadcast lane, and crowdedBytes how
	// much in all such lanes, before publishers of this node are slowed down, and roomWait
	// how long at most.
	crowded      = 64
	crowdedBytes = maxWaiting / 4
	roomWait     = time.Second
	// helpAtMost bounds what a publisher delivers for others.
	helpAtMost = 64
	// keepTasks is the largest empty queue that a lane keeps.
	keepTasks = 256
)

// task is a message of the broker on its way to this node's connections of a topic.
type task struct {
	topic   string
	payload []byte
	// kind, position and presence are the broker's: only what was published has a payload.
	kind     broker.Kind
	position broker.Position
	presence *broker.Presence
	mark     *mark // instead of all above
}

func (t *task) cost() int64 { return int64(len(t.payload)) + taskCost }

// lanes are queues between the broker, which must never wait, and the delivery:
// one topic is always in the same lane, so its order holds. What goes to few
// connections and what goes to many have lanes apart, as a broadcast takes long;
// so have questions, which nobody's order depends on. A lane has a goroutine only
// while it has work.
type lanes struct {
	hub       *Hub
	seed      maphash.Seed
	unicast   laneGroup
	broadcast laneGroup
	queries   laneGroup
	endings   laneGroup // see pushLast
	work      sync.WaitGroup
}

type laneGroup struct {
	lanes   []lane
	waiting atomic.Int64 // cost of all tasks not delivered yet
	// helped: publishers run a lane themselves after publishing, which saves a
	// goroutine, and slows them down when there is too much.
	helped bool
}

type lane struct {
	group *laneGroup

	mu      sync.Mutex // guards all below
	queue   []task
	spare   []task        // an empty slice to use next
	depth   int           // tasks queued or being delivered
	running bool          // somebody works on it
	room    chan struct{} // closed when there is room again; nil if nobody waits
}

func newLanes(h *Hub) *lanes {
	l := &lanes{hub: h, seed: maphash.MakeSeed()}
	// Only the memory broker hands messages over within Publish.
	l.unicast.init(unicastLanes, h.alone)
	l.broadcast.init(broadcastLanes, false)
	l.queries.init(1, h.alone)
	l.endings.init(1, false)
	return l
}

func (g *laneGroup) init(n int, helped bool) {
	g.lanes, g.helped = make([]lane, n), helped
	for i := range g.lanes {
		g.lanes[i].group = g
	}
}

func (l *lanes) waiting() int64 {
	return l.unicast.waiting.Load() + l.broadcast.waiting.Load() + l.queries.waiting.Load() + l.endings.waiting.Load()
}

// to is the lane of an envelope's kind to a topic.
func (l *lanes) to(topic string, kind byte) *lane {
	switch kind {
	case envelope.QueryKind:
		return &l.queries.lanes[0]
	case envelope.EndingKind:
		return &l.endings.lanes[0]
	}
	n := maphash.String(l.seed, topic)
	switch kind, _ := registry.SplitTopic(topic); kind {
	case registry.AllTopic:
		return &l.broadcast.lanes[0]
	case ChannelTopic:
		return &l.broadcast.lanes[1+n%(broadcastLanes-1)]
	}
	return &l.unicast.lanes[n%unicastLanes]
}

// push queues a task and never waits; past the bound the task is dropped and
// counted.
func (l *lanes) push(ln *lane, t task) {
	g, cost := ln.group, t.cost()
	if g.waiting.Add(cost) > maxWaiting {
		g.waiting.Add(-cost)
		l.dropped()
		return
	}
	ln.mu.Lock()
	if ln.queue == nil {
		ln.queue, ln.spare = ln.spare, nil
	}
	ln.queue = append(ln.queue, t)
	ln.depth++
	begin := !ln.running && (!g.helped || t.kind != broker.Published) // nobody publishes what the broker says of streams
	ln.running = ln.running || begin
	ln.mu.Unlock()
	if begin {
		l.work.Go(func() { l.run(ln) })
	}
}

// mark stands in lanes for a task of another lane that has to wait for what is before
// the mark.
type mark struct {
	lanes *lanes
	task  task
	open  atomic.Int64 // lanes that have not reached it yet
}

// pushLast queues a task for when everything is delivered that was received before
// it, whatever lane it is in: an order that ends a connection must not overtake a
// push to it, and lanes know nothing of each other. Lanes with nothing in them need
// no mark. It never waits.
func (l *lanes) pushLast(t task) {
	m := &mark{lanes: l, task: t}
	m.open.Store(1)
	for _, g := range []*laneGroup{&l.unicast, &l.broadcast} {
		for i := range g.lanes {
			g.lanes[i].mark(m)
		}
	}
	m.reached()
}

// mark puts m behind what the lane has, if it has anything. Somebody works on it
// then, or is about to.
func (ln *lane) mark(m *mark) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.depth == 0 {
		return
	}
	m.open.Add(1)
	t := task{mark: m}
	ln.group.waiting.Add(t.cost())
	ln.queue = append(ln.queue, t)
	ln.depth++
}

// reached is called by each lane that comes to the mark.
func (m *mark) reached() {
	if m.open.Add(-1) == 0 {
		m.lanes.push(m.lanes.to(m.task.topic, envelope.EndingKind), m.task)
	}
}

func (l *lanes) dropped() {
	l.hub.metrics.FanoutDropped.Inc()
	l.hub.rate.Error("dropped", "messages dropped: fan-out cannot keep up", "waiting_bytes", int64(maxWaiting))
}

// published is called by publishers of this node after they handed a message for
// this lane to the broker. They do the lane's work where it is theirs to do, and
// are slowed down where there is more than the lane can do.
func (l *lanes) published(ctx context.Context, ln *lane) {
	if ln.group.helped {
		l.help(ln)
		return
	}
	ln.mu.Lock()
	if ln.hasRoom(crowded) {
		ln.mu.Unlock()
		return
	}
	if ln.room == nil {
		ln.room = make(chan struct{})
	}
	room := ln.room
	ln.mu.Unlock()
	t := time.NewTimer(roomWait)
	defer t.Stop()
	select {
	case <-room:
	case <-t.C:
	case <-ctx.Done():
	}
}

// hasRoom says whether publishers may go on with so many messages in the lane, which is
// locked. A lane with nothing in it holds up nobody, whatever is in the others.
func (ln *lane) hasRoom(most int) bool {
	return ln.depth == 0 || ln.depth <= most && ln.group.waiting.Load() <= crowdedBytes
}

// help works on the lane if nobody does.
func (l *lanes) help(ln *lane) {
	ln.mu.Lock()
	begin := !ln.running && len(ln.queue) > 0
	ln.running = ln.running || begin
	ln.mu.Unlock()
	if begin && !l.runSome(ln, helpAtMost) {
		l.work.Go(func() { l.run(ln) })
	}
}

// run works until the lane is empty.
func (l *lanes) run(ln *lane) {
	for !l.runSome(ln, 1<<30) {
	}
}

// runSome works on the lane until it is empty (true) or about most tasks are done.
func (l *lanes) runSome(ln *lane, most int) (empty bool) {
	d := deliveries.Get().(*delivery)
	defer deliveries.Put(d)
	for done := 0; done < most; {
		work := ln.take()
		if work == nil {
			return true
		}
		for rest := work; len(rest) > 0; {
			n := sameTopic(rest)
			l.deliver(ln, d, rest[:n])
			rest = rest[n:]
		}
		done += len(work)
		ln.giveBack(work)
	}
	return false
}

// deliver goes on with the next task after one that panics.
func (l *lanes) deliver(ln *lane, d *delivery, tasks []task) {
	defer ln.finished(tasks)
	for d.at = 0; d.at < len(tasks); {
		l.deliverRest(d, tasks)
	}
}

func (l *lanes) deliverRest(d *delivery, tasks []task) {
	defer l.hub.guard.Recover("delivery of a push", d.reset)
	l.hub.deliver(d, tasks)
}

// take empties the queue; nil: there is nothing, and the lane has no worker now.
func (ln *lane) take() []task {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	work := ln.queue
	if len(work) == 0 {
		ln.running = false
		return nil
	}
	ln.queue, ln.spare = ln.spare, nil
	return work
}

// finished notes that tasks are delivered, and lets publishers go on.
func (ln *lane) finished(tasks []task) {
	cost := int64(0)
	for i := range tasks {
		cost += tasks[i].cost()
	}
	ln.group.waiting.Add(-cost)
	ln.mu.Lock()
	if ln.depth -= len(tasks); ln.room != nil && ln.hasRoom(crowded/2) {
		close(ln.room)
		ln.room = nil
	}
	ln.mu.Unlock()
}

func (ln *lane) giveBack(work []task) {
	if cap(work) > keepTasks {
		return
	}
	clear(work)
	ln.mu.Lock()
	if ln.spare == nil {
		ln.spare = work[:0]
	}
	ln.mu.Unlock()
}

// sameTopic counts the tasks at the start of work that are delivered together.
func sameTopic(work []task) int {
	n, size := 1, len(work[0].payload)
	for n < len(work) && n < batchAtOnce && work[n].topic == work[0].topic {
		if size += len(work[n].payload); size > batchBytes {
			break
		}
		n++
	}
	return n
}
