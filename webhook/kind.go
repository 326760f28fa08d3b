package webhook

// messageTries is how often a message is sent at most (SPEC §11 Webhooks).
const messageTries = 3

// kind is an event that is asked.
type kind struct {
	event   string
	class   *class
	tries   int // at most
	breaker breaker
}

// kindOf is that of an event, which must be one that is asked. The first is the most
// frequent.
func (q *queue) kindOf(event string) *kind {
	for i := range q.kinds {
		if q.kinds[i].event == event {
			return &q.kinds[i]
		}
	}
	return &q.kinds[0]
}
