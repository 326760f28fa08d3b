package session

import (
	"slices"
	"sync"
	"time"

	"github.com/pushcart/pushcart/webhook"
)

// dialog is what a session has whose client makes requests: those that wait for their
// answers, and what they stand on. Most connections have one that is all but empty.
type dialog struct {
	mu      sync.Mutex  // guards all below
	pending []*request  // in the order in which they came; never more than bound
	asking  bool        // one of them is with the backend
	reading [reads]bool // what one of them reads
	settled bool        // the input is held until none is left
	over    bool        // the connection ended
	rights  *rights     // nil: none but what the rules give to all
}

// rights are what tokens and the connect answer give to a session.
type rights struct {
	// latest is when the connection ends at the latest, whatever its token says, in Unix
	// seconds; 0: no such time.
	latest uint32
	// subject is whom the connection's token names, where the session has another user.
	subject string
	token   *grants // of the connection's token
	connect *grants // of the connect answer
	leases  []lease
	timer   *time.Timer // ends leases; nil where none has an end of its own
}

// rightsLocked are the rights to read, also where there are none.
func (d *dialog) rightsLocked() rights {
	if d.rights == nil {
		return rights{}
	}
	return *d.rights
}

// changeLocked are the rights to change.
func (d *dialog) changeLocked() *rights {
	if d.rights == nil {
		d.rights = &rights{}
	}
	return d.rights
}

// stage is how far a request is; it only grows.
type stage uint8

const (
	stageNew    stage = iota // with a question: nobody was asked yet
	stageAsking              // the backend is asked
	stageReady               // it waits for its turn
	stageActing
)

// reading is what a request reads.
type reading uint8

const (
	readsNothing reading = iota
	readsHistory
	readsPresence
	reads
)

// request is one that waits for its answer.
type request struct {
	// channel it is about: such requests are answered in their order. "": none.
	channel string
	reads   reading // one at a time of each
	cost    int     // bytes
	// question is what the backend is asked first, nil for nothing.
	question *question
	// act carries it out, with the backend's answer if there was a question. It never
	// waits, and ends with Engine.finish, now or later.
	act    func(webhook.Answer, error)
	stage  stage
	answer webhook.Answer
	err    error
}

// question is the event that the backend is asked.
type question struct {
	name        string
	event       string // ce-event
	contentType string
	body        []byte
}

// add takes a request; reached: these are as many as there may be. ok is false where the
// connection is over.
func (d *dialog) add(r *request, most int) (reached, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return false, false
	}
	if r.question == nil {
		r.stage = stageReady
	}
	d.pending = append(d.pending, r)
	return len(d.pending) == most, true
}

// next is a request that can go one step further, and is taken to do so; nil: none can.
// What is asked is asked one at a time, in order; what is about one channel is carried out
// in order (SPEC §5, §11).
func (d *dialog) next() *request {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return nil
	}
	for i, r := range d.pending {
		switch {
		case r.stage == stageNew && !d.asking:
			d.asking, r.stage = true, stageAsking
			return r
		case r.stage == stageReady && d.turnLocked(i):
			d.reading[r.reads] = r.reads != readsNothing
			r.stage = stageActing
			return r
		}
	}
	return nil
}

// turnLocked says whether nothing before the i-th request has to be answered first.
func (d *dialog) turnLocked(i int) bool {
	r := d.pending[i]
	if d.reading[r.reads] {
		return false
	}
	return r.channel == "" || !slices.ContainsFunc(d.pending[:i], func(before *request) bool { return before.channel == r.channel })
}

// answered takes what the backend said; false: the connection is over, and r with it.
func (d *dialog) answered(r *request, a webhook.Answer, err error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asking, r.stage, r.answer, r.err = false, stageReady, a, err
	return !d.over
}

// remove takes an answered request out and says how often the input, which was held, is
// to be resumed.
func (d *dialog) remove(r *request, most int) (resumes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.Index(d.pending, r)
	if i < 0 {
		return 0 // the connection ended before
	}
	if len(d.pending) == most {
		resumes++
	}
	d.reading[r.reads] = false
	if d.pending = slices.Delete(d.pending, i, i+1); len(d.pending) > 0 {
		return resumes
	}
	d.pending = nil
	if d.settled {
		d.settled = false
		resumes++
	}
	return resumes
}

// settle says whether requests wait for their answers; then remove resumes the input when
// none does.
func (d *dialog) settle() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settled = len(d.pending) > 0 && !d.over
	return d.settled
}

// end forgets what did not begin; those that did end by themselves.
func (d *dialog) end() (forgotten []*request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	if timer := d.rightsLocked().timer; timer != nil {
		timer.Stop()
	}
	for _, r := range d.pending {
		if r.stage == stageNew || r.stage == stageReady {
			forgotten = append(forgotten, r)
		}
	}
	d.pending = slices.DeleteFunc(d.pending, func(r *request) bool { return r.stage == stageNew || r.stage == stageReady })
	return forgotten
}
