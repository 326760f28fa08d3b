package roster

import (
	"strconv"
	"sync"
)

// life is the name under which Redis knows this node. When it was buried, what it
// declared was taken back and told as lost, so that it goes on under the next name with
// nothing declared.
type life struct {
	id string

	mu    sync.Mutex // guards epoch
	epoch uint64
}

func newLife(id string) *life { return &life{id: id, epoch: 1} }

func (l *life) name() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.id + ":" + strconv.FormatUint(l.epoch, 10)
}

// end begins the next life if name is still that of this one.
func (l *life) end(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if name != l.id+":"+strconv.FormatUint(l.epoch, 10) {
		return false
	}
	l.epoch++
	return true
}

// buried is called by whoever finds out that the node was buried under a name: once for
// each life all is forgotten that was declared, and the watcher hears of it.
func (r *Roster) buried(name string) {
	if r.link.Context().Err() != nil || !r.life.end(name) {
		return // a node that ends buries itself
	}
	r.log.Error("node buried", "this node was silent for too long and declared dead: its connections are reported as lost, and it closes them",
		"key", "redis", "name", name)
	r.declared.forget()
	if f := r.watcher.Buried; f != nil {
		f()
	}
}
