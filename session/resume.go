package session

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pushcart/pushcart/config"
	"github.com/pushcart/pushcart/hub"
	"github.com/pushcart/pushcart/internal/apierror"
)

// MaxResumed is how many streams a handshake may resume.
const MaxResumed = 64

// Resume is what a reconnecting client asks for in its handshake.
type Resume struct {
	// User is a position in what was pushed to the user, nil for none.
	User *hub.Position
	// Channels are valid names, none twice, at most MaxResumed with User.
	Channels []Resumed
}

// Resumed is a channel to subscribe to from a position on.
type Resumed struct {
	Channel string
	After   hub.Position
}

// Opening is the state in which a session begins.
type Opening struct {
	// First are the messages of the connect answer, each a JSON value.
	First [][]byte
	// User is the user's own stream, nil without one that is kept, or that could not be
	// read in time.
	User *Stream
	// Channels are those that the client is subscribed to, Refused those that it is not,
	// though it asked for them.
	Channels []Stream
	Refused  []Refused
}

// Stream is one that a session follows from its beginning.
type Stream struct {
	Channel string // "" for the user's own
	hub.Followed
	// Resumed says that a position was asked for.
	Resumed bool
}

// Refused is a channel that was not resumed, and why: forbidden, rate_limited, or ask, as
// the backend has to be asked, or a token of its own is needed.
type Refused struct{ Channel, Why string }

// readResume reads what the protocol makes of the query.
func (w *admitting) readResume() *Refusal {
	resume, err := w.engine.protocols[w.protocol].Resume(w.head.Query)
	if err != nil {
		return Refuse("bad_request", apierror.InvalidArgument, err.Error())
	}
	w.resume = resume
	return nil
}

// newDialog is what a session begins with that makes requests; nil: nothing.
func (e *Engine) newDialog(id *identity) *dialog {
	has := &rights{token: e.grantsOf(id.granted), connect: e.grantsOf(id.given)}
	if id.subject != id.user {
		has.subject = id.subject
	}
	if !id.latest.IsZero() {
		has.latest = endOf(id.latest)
	}
	if has.token == nil && has.connect == nil && has.subject == "" && has.latest == 0 {
		return nil
	}
	return &dialog{rights: has}
}

// resumeWait is how long a handshake waits for the streams that it begins (SPEC §4.3).
const resumeWait = time.Second

// opening is the streams of a session that is let in, while they begin.
type opening struct {
	e *Engine
	s *Session
	t Transport

	mu      sync.Mutex // guards all below
	left    int
	closed  bool          // the client is told already
	done    chan struct{} // closed when none is left
	streams []Stream
	refused []Refused
}

// begin subscribes the client to its user's lasting channels, to those that its token and
// the connect answer name, and to those that it asks to resume, and waits a moment for the
// broker's answers.
func (a *Admission) begin(s *Session, t Transport) Opening {
	e := a.engine
	o := &opening{e: e, s: s, t: t, left: 1, done: make(chan struct{})}
	after := map[string]*hub.Position{}
	for i := range a.resume.Channels {
		after[a.resume.Channels[i].Channel] = &a.resume.Channels[i].After
	}
	ctx := context.Background()
	if len(a.identity.channels)+len(after) > 0 || a.identity.user != "" { // else nothing is waited for
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, resumeWait)
		defer cancel()
	}
	var lasting []string
	if a.identity.user != "" {
		o.follow("", a.resume.User, true, lease{})
		lasting = o.followLasting(ctx, after)
	}
	for _, name := range a.identity.channels {
		if !slices.Contains(lasting, name) {
			o.follow(name, after[name], true, e.leaseOf(s, name))
			delete(after, name)
		}
	}
	for i := range a.resume.Channels {
		if name := a.resume.Channels[i].Channel; after[name] != nil {
			o.resume(name, after[name])
		}
	}
	o.answered(nil)
	select {
	case <-o.done:
	case <-ctx.Done():
	}
	return o.close(a.identity.messages)
}

// followLasting follows what the user is subscribed to for as long as it comes back, from
// the positions in after where that has them. These stand on no token.
func (o *opening) followLasting(ctx context.Context, after map[string]*hub.Position) (names []string) {
	names, settled := o.e.hub.Lasting(ctx, o.t)
	for _, name := range names {
		o.follow(name, after[name], true, lease{})
		delete(after, name)
	}
	settled()
	return names
}

// leaseOf is what a channel stands on that the server subscribes the client to.
func (e *Engine) leaseOf(s *Session, channel string) lease {
	l, _ := s.dialog().granted(s, channel, nil)
	return l
}

// resume follows a channel if the client may without asking anybody.
func (o *opening) resume(channel string, after *hub.Position) {
	set := o.e.settings.Load()
	word := set.rules.of(channel, o.s.member.User()).subscribe
	l, ok := o.e.right(o.s, word, channel, nil)
	switch {
	case word == config.ByWebhook, !ok && word == config.Granted && set.auth.HasJWT():
		o.refuse(channel, "ask")
	case !ok:
		o.refuse(channel, string(apierror.Forbidden))
	default:
		o.follow(channel, after, false, l)
	}
}

func (o *opening) refuse(channel, why string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refused = append(o.refused, Refused{channel, why})
}

// follow begins a stream; "" is the user's own. Those that the server gave begin late
// rather than never.
func (o *opening) follow(channel string, after *hub.Position, given bool, l lease) {
	o.mu.Lock()
	o.left++
	o.mu.Unlock()
	answer := func(f hub.Followed, err error) {
		defer o.e.guard.Recover("answer of the hub", o.e.failed(o.t))
		// Where the broker is away, what the server gave is subscribed to all the same.
		follows := err == nil || given && !errors.Is(err, hub.ErrFull) && !errors.Is(err, hub.ErrNotFollowing)
		if follows && l.revocable() {
			o.e.hold(o.s, o.t, l)
		}
		late := o.answered(func() {
			switch {
			case err == nil:
				o.streams = append(o.streams, Stream{channel, f, after != nil})
			case errors.Is(err, hub.ErrFull):
				o.refused = append(o.refused, Refused{channel, string(apierror.RateLimited)})
			}
		})
		switch {
		case channel == "" || !follows:
		case given && (late || err != nil):
			o.t.Send([]*hub.Message{{Kind: hub.Subscribed, Topic: hub.ChannelTopic + channel, Offset: f.Position.Offset, Epoch: f.Position.Epoch}})
		case late:
			o.e.goOn(o.t, func() { o.e.hub.Unfollow(o.t, channel) })
		}
	}
	start := hub.Start{After: after, Anyway: given}
	if channel == "" {
		o.e.hub.FollowUser(o.t, start, answer)
	} else {
		o.e.hub.Follow(o.t, channel, start, o.e.settings.Load().limits.ChannelsPerConnection, answer)
	}
}

// answered notes an answer, unless it is late.
func (o *opening) answered(note func()) (late bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return true
	}
	if note != nil {
		note()
	}
	if o.left--; o.left == 0 {
		close(o.done)
	}
	return false
}

// close is what the client is told.
func (o *opening) close(first [][]byte) Opening {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	out := Opening{First: first, Refused: o.refused}
	slices.SortFunc(o.streams, func(x, y Stream) int { return strings.Compare(x.Channel, y.Channel) })
	for i, st := range o.streams {
		if st.Channel == "" {
			out.User = &o.streams[i]
		} else {
			out.Channels = append(out.Channels, st)
		}
	}
	return out
}
