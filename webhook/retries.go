package webhook

// retries is a heap of jobs by their due time; each knows its place, so that one
// that is given up can be taken out.
type retries []*job

func (r retries) Len() int           { return len(r) }
func (r retries) Less(i, j int) bool { return r[i].due.Before(r[j].due) }
func (r retries) Swap(i, j int) {
	r[i], r[j] = r[j], r[i]
	r[i].index, r[j].index = i, j
}

func (r *retries) Push(x any) {
	j := x.(*job)
	j.index = len(*r)
	*r = append(*r, j)
}

func (r *retries) Pop() any {
	old := *r
	j := old[len(old)-1]
	old[len(old)-1] = nil
	j.index = -1
	*r = old[:len(old)-1]
	return j
}

// line is a list of jobs in the order in which they came. Each knows its neighbours,
// so that one takes no extra memory and can be taken out.
type line struct {
	front, back *job
	len         int
}

func (l *line) add(j *job) {
	j.older, j.queued = l.back, true
	if l.back == nil {
		l.front = j
	} else {
		l.back.younger = j
	}
	l.back = j
	l.len++
}

// remove takes j out, if it is there.
func (l *line) remove(j *job) {
	if !j.queued {
		return
	}
	if j.older == nil {
		l.front = j.younger
	} else {
		j.older.younger = j.younger
	}
	if j.younger == nil {
		l.back = j.older
	} else {
		j.younger.older = j.older
	}
	j.older, j.younger, j.queued = nil, nil, false
	l.len--
}
