package webhook

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
)

func TestFacts_AreInOrderByWhatTheyAreAbout(t *testing.T) {
	for _, c := range []struct {
		ev                *Event
		key, subject, say string
	}{
		{NewFact(UserOnline, "", "ann", 5, recorded), "user:ann", "ann", `{"generation":5}`},
		{NewFact(UserOffline, "", "ann", 6, recorded), "user:ann", "ann", `{"generation":6}`},
		{NewFact(ChannelOccupied, "chat", "", 5, recorded), "channel:chat", "chat", `{"channel":"chat","generation":5}`},
		{NewFact(ChannelVacated, "chat", "", 6, recorded), "channel:chat", "chat", `{"channel":"chat","generation":6}`},
		{NewFact(PresenceJoin, "chat", "ann", 5, recorded), "channel:chat\nann", "chat", `{"channel":"chat","user_id":"ann"}`},
		{NewFact(PresenceLeave, "chat", "ann", 6, recorded), "channel:chat\nann", "chat", `{"channel":"chat","user_id":"ann"}`},
	} {
		if c.ev.key() != c.key || c.ev.subject() != c.subject || string(c.ev.Body) != c.say {
			t.Errorf("%s: key %q, subject %q, body %s", c.ev.Name, c.ev.key(), c.ev.subject(), c.ev.Body)
		}
	}
}

func TestFacts_OneWaitsForTheEarlierOneOfItsKeyOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := 1
		r := newRig(t, nil, func(j *job) verdict {
			if j.event.UserID == "ann" && j.event.Channel == "" && fails > 0 {
				fails--
				return broken
			}
			return good
		})
		told := func(name, channel, user string, generation uint64) {
			r.Tell(NewFact(name, channel, user, generation, time.Now()))
			synctest.Wait()
		}
		told(UserOnline, "", "ann", 1)
		told(UserOffline, "", "ann", 2)
		told(UserOnline, "", "bob", 1)
		told(ChannelOccupied, "chat", "", 1)
		told(PresenceJoin, "chat", "ann", 1)
		want(t, "at once", r.log(), []string{"user.online  1", "user.online  1", "channel.occupied  1", "presence.join  1"})
		pass(time.Hour)
		want(t, "after the retry", r.log()[4:], []string{"user.online  1", "user.offline  2"})
	})
}

// Two nodes that tell the same make the same id; nothing else has it.
func TestIDs_FollowFromWhatIsTold(t *testing.T) {
	seen := map[uuid.UUID]string{}
	for what, ev := range map[string]*Event{
		"ann online 5":    NewFact(UserOnline, "", "ann", 5, recorded),
		"ann online 6":    NewFact(UserOnline, "", "ann", 6, recorded),
		"ann offline 5":   NewFact(UserOffline, "", "ann", 5, recorded),
		"channel ann 5":   NewFact(ChannelOccupied, "ann", "", 5, recorded),
		"ab c":            NewFact(PresenceJoin, "ab", "c", 5, recorded),
		"a bc":            NewFact(PresenceJoin, "a", "bc", 5, recorded),
		"connected c1":    event(Connected, "c1", 1),
		"disconnected c1": event(Disconnected, "c1", 1),
		"disconnected c2": event(Disconnected, "c2", 1),
	} {
		id := ev.id()
		if other, ok := seen[id]; ok {
			t.Errorf("%s has the id of %s", what, other)
		}
		seen[id] = what
		other := *ev
		other.Time, other.Node, other.Body = time.Now(), "node2", nil
		if other.id() != id {
			t.Errorf("%s: another node has another id", what)
		}
		if id.Version() != 8 || id.Variant() != uuid.RFC4122 {
			t.Errorf("%s: %s is no UUIDv8", what, id)
		}
	}
	if a, b := event(Message, "c1", 1).id(), event(Message, "c1", 1).id(); a == b || a.Version() != 7 {
		t.Errorf("messages: %s, %s", a, b)
	}
}

func TestFactID_IsThatOfTheEvent(t *testing.T) {
	if got, want := NewFact(PresenceJoin, "chat", "ann", 5, recorded).id(), FactID(PresenceJoin, "chat", "ann", 5); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := event(Disconnected, "c1", 3).id(), ConnectionEventID(Disconnected, "c1"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
