package proxy

import "time"

// share is what an exchange takes of the backend: nothing, the place of a request
// that waits for its response head (backend.max_connections), or that of a stream
// (max_streams). It is given back with leave.
type share uint8

const (
	outside share = iota
	waiting
	streaming
)

// enter makes it a request that waits, within connect_timeout.
func (a *share) enter(u *upstream, within time.Duration) error {
	select {
	case u.slots <- struct{}{}:
		*a = waiting
		return nil
	default:
	}
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case u.slots <- struct{}{}:
		*a = waiting
		return nil
	case <-t.C:
		return errNoConnection
	}
}

// stream makes it a stream; with an error it is what it was.
func (a *share) stream(u *upstream) error {
	if *a == streaming {
		return nil
	}
	if n := u.streams.Add(1); u.maxStreams > 0 && n > u.maxStreams {
		u.streams.Add(-1)
		return errStreams
	}
	a.leave(u)
	*a = streaming
	return nil
}

// leave gives back what it counts as.
func (a *share) leave(u *upstream) {
	switch *a {
	case waiting:
		<-u.slots
	case streaming:
		u.streams.Add(-1)
	}
	*a = outside
}
