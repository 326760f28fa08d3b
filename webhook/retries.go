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
