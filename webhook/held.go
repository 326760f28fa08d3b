package webhook

// Release releases an event that is Held, even one that is queued only later. It does
// nothing to others. It does not call Kept, and may be called where Kept must not be.
func (d *Dispatcher) Release(ev *Event) { d.queue.release(ev) }

func (q *queue) release(ev *Event) {
	q.mu.Lock()
	defer q.unlock()
	if !ev.Held {
		return
	}
	ev.Held = false
	if k := q.keys[ev.key()]; k != nil && k.events[0].event == ev {
		q.goOnLocked(k)
		q.pumpLocked()
	}
}

// goOnLocked is for the first event of a key, which was held.
func (q *queue) goOnLocked(k *key) {
	q.nextOfLocked(k)
	if k.events[0].hurried {
		q.hurryLocked(k)
	}
}

// releaseAllLocked lets all go, as who holds them may be about to end.
func (q *queue) releaseAllLocked() {
	for e := q.outbox.Front(); e != nil; e = e.Next() {
		j := e.Value.(*job)
		if !j.event.Held {
			continue
		}
		j.event.Held = false
		if k := q.keys[j.key]; k.events[0] == j {
			q.goOnLocked(k)
		}
	}
}
