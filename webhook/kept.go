package webhook

// Kept is what an event that is told leaves behind elsewhere, as in the broker. One of
// its functions is called, once, when the event's fate is settled; none after Withdraw
// took the event. They must not block, and may be called from any goroutine.
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

// Withdraw drops the told events that wait and that drop says true of, without a word:
// they are neither counted nor logged, and Kept does not hear of it. Those under way are
// tried to the end of this attempt, and not again; if the backend took one, Kept is
// told. drop is called with a lock held and must not call the Dispatcher.
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
