package webhook

// pace bounds how many notifications are under way at once, so that a backend that
// comes back finds a few of those that waited, not all: failures in a row halve it, and
// each round that went well adds one. One event that always fails does nothing.
type pace struct {
	now    int  // so many at once
	most   int  // never more
	good   int  // how many went well since it grew
	failed bool // the last one did
}

// resize sets the most, which it begins with.
func (p *pace) resize(most int) {
	if p.now == p.most || p.now > most {
		p.now = most
	}
	p.most = most
}

// note takes what an attempt came to. A refusal of this one event says nothing about
// what the backend can take.
func (p *pace) note(v *verdict) {
	switch {
	case v.overloaded() && p.failed:
		p.now, p.good = max(1, p.now/2), 0
	case v.overloaded():
		p.failed = true
	case v.answer.Status/100 == 2:
		p.failed = false
		if p.good++; p.good >= p.now && p.now < p.most {
			p.now, p.good = p.now+1, 0
		}
	}
}

// overloaded says whether the backend is away, fails, or says that it has too much to
// do.
func (v *verdict) overloaded() bool {
	switch s := v.answer.Status; s {
	case 408, 429:
		return true
	default:
		return v.down() || s >= 500 && !final(s)
	}
}
