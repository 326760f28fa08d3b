package webhook

// Kept is a notification's record elsewhere, such as in the broker. One of its functions
// is called, once, when the event is delivered or given up; none after Withdraw took the
// event. They must not block, and may be called from any goroutine.
type Kept interface {
	// Told: the backend took it, or an operator does not want it told any more.
	Told()
	// Buried: the backend does not take it, or not in time. It is among the dead
	// letters, and its Entry with it.
	Buried()
	// Lost: it is no longer here, as too many wait (webhook.outbox), or the process
	// ends. elsewhere says whether another node will tell it all the same: then it is
	// not counted and logged as lost.
	Lost() (elsewhere bool)
}

// Withdraw silently drops the waiting notifications for which drop returns true: they are
// neither counted nor logged, and Kept is not called. Those in flight finish their
// attempt and are not retried; if the backend accepts one, Kept is called. drop is called
// with a lock held and must not call the Dispatcher.
func (d *Dispatcher) Withdraw(drop func(*Event) bool) { d.queue.withdraw(drop) }

func (q *queue) withdraw(drop func(*Event) bool) {
	q.mu.Lock()
	defer q.unlock()
	for e := q.outbox.Front(); e != nil; {
		next := e.Next()
		if j := e.Value.(*job); drop(j.event) {
			if j.withdrawn = true; !j.sent {
				q.withdrawLocked(j)
				q.finishLocked(j)
			}
		}
		e = next
	}
	q.pumpLocked()
}

// sayToldLocked lets Kept know that an event needs no telling any more, once the
// queue's lock is free.
func (q *queue) sayToldLocked(j *job) {
	if kept := j.event.Kept; kept != nil {
		q.after = append(q.after, kept.Told)
	}
}
